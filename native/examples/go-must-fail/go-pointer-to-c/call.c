#include "_cgo_export.h"

void call_go(void)
{
    give();
}

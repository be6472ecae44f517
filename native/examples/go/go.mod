module otherheap

go 1.24

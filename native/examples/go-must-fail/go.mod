module mustfail

go 1.24

require otherheap v0.0.0

replace otherheap => ../go

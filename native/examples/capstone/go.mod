module capstone

go 1.24

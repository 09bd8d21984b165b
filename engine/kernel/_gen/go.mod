module github.com/wattshed/wattshed/engine/kernel/_gen

go 1.26.0

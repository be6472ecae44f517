// Package malloc has a benchmark that calls C itself, which a test file may not.
package malloc

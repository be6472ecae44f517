//go:build asan

package cimage

const underASan = true

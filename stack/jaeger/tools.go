//go:build tools

// Package jaeger pins the program that is built from here: go.mod and go.sum say exactly from what.
package jaeger

import (
	_ "github.com/jaegertracing/jaeger/cmd/jaeger"
)

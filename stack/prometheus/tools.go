//go:build tools

// Package prometheus pins the program that is built from here: go.mod and go.sum say exactly from what.
package prometheus

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)

//go:build !failpoint

package main

import "github.com/wabridge/wabridge/core/app"

func failpoint() func(name string) { return nil }

func unsafe() app.Unsafe { return app.Unsafe{} }

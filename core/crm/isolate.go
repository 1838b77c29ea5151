package crm

import "github.com/wabridge/wabridge/core"

// MaxTries is how many requests one batch may cost while the row that a CRM
// refuses is looked for: enough to find three among a hundred by halving.
const MaxTries = 24

// Isolate hands items to try, which decides what it can and returns the rest with
// the error that explains it. As long as the error is that of some item (it is
// invalid, but nothing says which item is), the rest is halved and tried again, so
// that its neighbours pass. fail ends the items that cannot be helped.
func Isolate[T any](items []T, calls *int, try func([]T) ([]T, *core.Error), fail func(T, *core.Error)) {
	if len(items) == 0 {
		return
	}
	failAll := func(items []T, err *core.Error) {
		for _, it := range items {
			fail(it, err)
		}
	}
	if *calls == 0 {
		failAll(items, &core.Error{Code: core.CodeUnavailable, Op: "batch", Source: core.SourceVendor,
			Message: "the CRM refused the batch for a row it did not name"})
		return
	}
	*calls--
	rest, err := try(items)
	switch {
	case err == nil, len(rest) == 0:
	case err.Code != core.CodeInvalid, len(items) == 1:
		failAll(rest, err)
	default:
		half := len(rest) / 2
		Isolate(rest[:half], calls, try, fail)
		Isolate(rest[half:], calls, try, fail)
	}
}

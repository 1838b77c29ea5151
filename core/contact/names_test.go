package contact

import "testing"

func TestNames_AreTakenApart(t *testing.T) {
	for name, want := range map[string][2]string{
		"": {}, " Ana ": {"Ana", ""}, "Ana García  López": {"Ana", "García  López"}, "García López, Ana": {"Ana", "García López"},
		", Ana": {",", "Ana"}, "Ana,": {"Ana,", ""}, "a, b, c": {"a,", "b, c"}, "Chen,Ana María": {"Ana María", "Chen"},
	} {
		if first, rest := Names(name); first != want[0] || rest != want[1] {
			t.Errorf("%q: %q and %q, want %q", name, first, rest, want)
		}
	}
}

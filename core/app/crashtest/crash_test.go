//go:build linux && !race

package crashtest

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wabridge/wabridge/core/app/rig"
	"github.com/wabridge/wabridge/core/store/powercut"
)

var cycles = flag.Int("crash.n", 6, "how often the bridge is killed")

// steps are the failpoints: the places where a death hurts most.
var steps = []string{
	"accept-before-commit", "accept-after-commit", "before-commit", "after-commit",
	"decide-before-commit", "decide-after-commit",
	"deliver-before-call", "deliver-after-call", "deliver-after-settle",
	"send-before-mark", "send-after-mark", "send-before-call", "send-after-call", "send-before-outcome", "send-after-outcome",
}

// programs is the folder of the program that the tests start.
var programs string

func TestMain(m *testing.M) {
	var err error
	if programs, err = os.MkdirTemp("", "crash"); err != nil {
		panic(err)
	}
	code := m.Run()
	_ = os.RemoveAll(programs)
	os.Exit(code)
}

// built builds the program, with its failpoints.
var built = sync.OnceValues(func() (string, error) {
	bin := filepath.Join(programs, "wabridge")
	out, err := exec.Command("go", "build", "-tags", "failpoint", "-o", bin, "github.com/wabridge/wabridge/cmd/wabridge").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, out)
	}
	return bin, err
})

func build(t *testing.T) string {
	t.Helper()
	bin, err := built()
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return bin
}

// place makes the data folder: on a disk whose power can be cut, where that can
// be had.
func place(t *testing.T) (dir string, disk *powercut.Disk) {
	t.Helper()
	if err := powercut.Available("ext4"); err != nil {
		t.Logf("NO POWER CUTS HERE: %v", err)
		return filepath.Join(t.TempDir(), "data"), nil
	}
	disk, err := powercut.New(t.TempDir(), "ext4")
	if err != nil {
		t.Fatalf("a disk for power cuts: %v", err)
	}
	t.Cleanup(func() {
		if err := disk.Close(); err != nil {
			t.Error(err)
		}
	})
	return filepath.Join(disk.Path(), "data"), disk
}

// death is one way to end.
type death func(t *testing.T, w *world, random *rand.Rand) (hit string)

func atRandom(_ *testing.T, w *world, random *rand.Rand) string {
	b := w.start()
	b.ready()
	<-time.After(time.Duration(50+random.IntN(700)) * time.Millisecond)
	b.kill()
	return "SIGKILL"
}

func atStep(step string, env ...string) death {
	return func(t *testing.T, w *world, random *rand.Rand) string {
		nth := 1 + random.IntN(12)
		b := w.start(append(env, fmt.Sprintf("WABRIDGE_FAILPOINT=%s:%d", step, nth))...)
		if b.ready() && !await(5*time.Second, b.gone) {
			b.kill()
			t.Logf("%s was not reached %d times within 5 s", step, nth)
			return "SIGKILL"
		}
		if !b.killedItself() {
			t.Fatalf("the bridge ended by itself: %v\n%s", b.err, b.log)
		}
		return step
	}
}

func powerCut(disk *powercut.Disk, env ...string) death {
	return func(t *testing.T, w *world, random *rand.Rand) string {
		b := w.start(env...)
		b.ready()
		<-time.After(time.Duration(50+random.IntN(700)) * time.Millisecond)
		if random.IntN(2) == 0 {
			b.kill() // the power goes after the process
			if err := disk.Cut(); err != nil {
				t.Fatal(err)
			}
		} else { // the process sees its disk fail
			if err := disk.Fail(); err != nil {
				t.Fatal(err)
			}
			await(time.Second, b.gone)
			b.kill()
			if err := disk.Unmount(); err != nil {
				t.Fatal(err)
			}
		}
		if err := disk.Mount(); err != nil {
			t.Fatal(err)
		}
		return "power cut"
	}
}

// finish lets a last, healthy bridge do what is left, and returns what is wrong.
func (w *world) finish(tr *traffic, env ...string) (figures, []string) {
	w.t.Helper()
	w.heal()
	b := w.start(env...)
	b.ready()
	return w.finishWith(tr, b)
}

// finishWith lets a bridge do what is left.
func (w *world) finishWith(tr *traffic, b *bridge) (figures, []string) {
	w.t.Helper()
	tr.end()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	var wrong []string
	if !await(60*time.Second, func() bool { return w.waiting() == 0 }) {
		wrong = append(wrong, fmt.Sprintf("%d events are still on their way after a minute", w.waiting()))
	}
	if err := w.wa.Wait(ctx); err != nil {
		wrong = append(wrong, "statuses are not acknowledged: "+err.Error())
	}
	if !await(30*time.Second, func() bool { return w.waiting() == 0 }) {
		wrong = append(wrong, fmt.Sprintf("%d events are still on their way", w.waiting()))
	}
	f, more := w.check(tr, w.deadLetters())
	wrong = append(wrong, more...)
	if err := b.stop(); err != nil {
		wrong = append(wrong, fmt.Sprintf("stop: %v\n%s", err, b.log))
	}
	if err := w.sound(); err != nil {
		wrong = append(wrong, "bbolt check: "+err.Error())
	}
	if err := rig.LeftOver(w.bin); err != nil {
		wrong = append(wrong, err.Error())
	}
	return f, wrong
}

func TestCrash_LosesNothingAndDoublesNothing(t *testing.T) {
	dir, disk := place(t)
	w := newWorld(t, build(t), dir)
	w.disturb()
	tr := startTraffic(w.url, often)
	random := rand.New(rand.NewPCG(uint64(*cycles), 42))
	hits := map[string]int{}
	for i := range *cycles {
		var die death
		switch {
		case i%3 == 0:
			die = atRandom
		case i%3 == 1 || disk == nil:
			die = atStep(steps[(i/3)%len(steps)])
		default:
			die = powerCut(disk)
		}
		hits[die(t, w, random)]++
	}
	f, wrong := w.finish(tr)
	t.Logf("%d deaths: %v", *cycles, hits)
	t.Log(f)
	for _, s := range wrong {
		t.Error(s)
	}
	if *cycles >= 3*len(steps) {
		for _, s := range steps {
			if hits[s] == 0 {
				t.Errorf("the step %s was never hit: it is not tested", s)
			}
		}
	}
	if f.Acked == 0 || f.Sent == 0 || f.Statuses == 0 {
		t.Error("nothing happened: this proves nothing")
	}
}

// A test that cannot fail proves nothing: the same loop must find out a bridge
// that acknowledges before it commits, and one whose commits do not reach the
// disk.
func TestCrash_FindsOutABridgeThatAcknowledgesFirst(t *testing.T) {
	const mutant = "WABRIDGE_MUTANT=ackfirst"
	w := newWorld(t, build(t), filepath.Join(t.TempDir(), "data"))
	tr := startTraffic(w.url, often)
	random := rand.New(rand.NewPCG(1, 1))
	for range 8 {
		atStep("before-commit", mutant)(t, w, random)
	}
	mustBeFoundOut(t, w, tr, "LOST")
}

func TestCrash_FindsOutABridgeThatDoesNotSync(t *testing.T) {
	const mutant = "WABRIDGE_MUTANT=nosync"
	dir, disk := place(t)
	if disk == nil {
		t.Skip("NOT TESTED HERE: without power cuts a missing sync cannot be seen")
	}
	w := newWorld(t, build(t), dir)
	tr := startTraffic(w.url, often)
	// What a cut takes from such a bridge depends on what the kernel had
	// written by then, so it is cut more than once.
	for range 4 {
		b := w.start(mutant)
		b.ready()
		<-time.After(time.Second)
		b.kill()
		if err := disk.Cut(); err != nil {
			t.Fatal(err)
		}
		if err := disk.Mount(); err != nil {
			t.Fatal(err)
		}
		next := w.start()
		opened := opens(next)
		next.kill()
		if !opened {
			t.Logf("found out: the store does not open after a cut:\n%s", next.log)
			tr.end()
			return
		}
	}
	mustBeFoundOut(t, w, tr, "LOST", "TWICE")
}

// opens reports whether a bridge gets as far as taking events.
func opens(b *bridge) bool {
	await(10*time.Second, func() bool { return b.gone() || b.w.waiting() >= 0 })
	return !b.gone()
}

// mustBeFoundOut ends the run and fails unless there are complaints of one of
// these kinds.
func mustBeFoundOut(t *testing.T, w *world, tr *traffic, kinds ...string) {
	t.Helper()
	f, wrong := w.finish(tr)
	t.Log(f)
	n := 0
	for _, s := range wrong {
		if slices.ContainsFunc(kinds, func(kind string) bool { return strings.HasPrefix(s, kind) }) {
			n++
		}
	}
	if n == 0 {
		t.Errorf("a bridge that is broken on purpose passes the test; found only: %q", wrong)
	}
	t.Logf("found out: %d complaints that begin with %v", n, kinds)
}

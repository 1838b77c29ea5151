package script

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/dop251/goja"

	"github.com/wabridge/wabridge/core/phrase"
)

const (
	// maxCalls bounds the depth of calls within a script. Without a bound,
	// recursion through getters, sort or toJSON cannot be interrupted.
	maxCalls = 512

	hostThrow    = 0
	hostLog      = 1
	hostLine     = 2
	hostCover    = 3
	hostTable    = 4
	hostPhrases  = 5
	hostExamples = 6
)

// synchronous is why there are no promises.
const synchronous = "a hook answers at once and nothing can be waited for, so write plain functions, no async and no await"

var errPromise = errors.New("a promise: " + synchronous)

// removeConstructors closes the way to make code of strings that only scripts
// with generator functions have.
var removeConstructors = goja.MustCompile("harden", `(function (host) {
  Object.defineProperty(Object.getPrototypeOf(function* () {}), "constructor", { value: host, writable: false, configurable: false });
})`, true)

// run is one call in a virtual machine of its own.
type run struct {
	c    *compiled
	vm   *goja.Runtime
	host goja.Value
	call *call
	res  *result
	// text is what the tables of phrases have read, and said of what.
	text *phrase.Text
	said string
}

// do runs one call of a script; hooks says what it has. The clock interrupts
// it when its time is up.
func (c *compiled) do(call *call, clock *clock, res *result) {
	start := time.Now()
	if c.main != nil {
		c.main.decide(call, res)
		res.ran = time.Since(start)
		return
	}
	r := &run{c: c, vm: goja.New(), call: call, res: res}
	clock.start(r.vm)
	r.guard(r.decide)
	clock.stop()
	res.ran = time.Since(start)
}

// probe runs the top level of a script and says which hooks it has.
func (c *compiled) probe(clock *clock) (hooks Hooks, err error) {
	if c.main != nil {
		return OnMessage, nil
	}
	call := &call{now: time.Now(), event: "{}", context: "{}"}
	res := &result{}
	r := &run{c: c, vm: goja.New(), call: call, res: res}
	clock.start(r.vm)
	defer clock.stop()
	r.guard(func() error {
		found, err := r.top()
		if err != nil {
			return err
		}
		for i, name := range hookNames {
			f := found.Get(strconv.Itoa(i))
			if f == nil || goja.IsUndefined(f) {
				continue
			}
			o, ok := f.(*goja.Object)
			if !ok {
				return fmt.Errorf("%s is no function", name)
			}
			if _, ok := goja.AssertFunction(o); !ok {
				return fmt.Errorf("%s is no function", name)
			}
			if tag := o.GetSymbol(goja.SymToStringTag); tag != nil && !goja.IsUndefined(tag) {
				return fmt.Errorf("%s is a generator: a hook is a plain function that returns its answer", name)
			}
			hooks |= 1 << i
		}
		if hooks == 0 {
			return fmt.Errorf("there is no hook: write export function onMessage(event, context) { … }, or another of %s", strings.Join(hookNames, ", "))
		}
		return nil
	})
	if res.failure == failureNone {
		return hooks, nil
	}
	if res.line == "" {
		res.line = c.name
	}
	return 0, fmt.Errorf("%s: %s", res.line, res.message)
}

// decide is the work of one call.
func (r *run) decide() error {
	hooks, err := r.top()
	if err != nil {
		return err
	}
	event, err := parseObject(r.vm, r.call.event)
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	context, err := parseObject(r.vm, r.call.context)
	if err != nil {
		return fmt.Errorf("context: %w", err)
	}
	now := r.call.now
	context.put(property{key: "now", value: r.vm.ToValue(now.UnixMilli())})
	context.put(property{key: "time", json: now.Format(`"2006-01-02T15:04:05.000Z07:00"`)})
	args := []goja.Value{r.vm.NewDynamicObject(event), r.vm.NewDynamicObject(context)}

	for i, name := range hookNames {
		h := Hooks(1) << i
		if !r.call.hooks.Has(h) {
			continue
		}
		hook, ok := goja.AssertFunction(hooks.Get(strconv.Itoa(i)))
		if !ok {
			continue
		}
		r.guard(func() error {
			v, err := hook(goja.Undefined(), args...)
			if err != nil {
				return err
			}
			if err := r.keep(h, v); err != nil {
				return fmt.Errorf("%s %w", name, err)
			}
			return nil
		})
		if r.res.stopped {
			break
		}
	}
	return nil
}

// keep writes down what a hook returned.
func (r *run) keep(h Hooks, v goja.Value) (err error) {
	if h == MapToCRM {
		r.res.fields, err = fieldsOf(v)
		return err
	}
	if goja.IsUndefined(v) || goja.IsNull(v) {
		return nil
	}
	e := encoder{limit: MaxOutput}
	wrap := actionHooks.Has(h) && !isArray(v) // one action is a list of one
	if wrap {
		e.buf = append(e.buf, '[')
	}
	if err := e.value(v, 0); err != nil {
		return fmt.Errorf("returned %w", err)
	}
	if wrap {
		e.buf = append(e.buf, ']')
	}
	if len(e.buf) > MaxOutput {
		return fmt.Errorf("returned %w", errLarge)
	}
	r.res.answer = string(e.buf)
	return nil
}

func isArray(v goja.Value) bool {
	o, ok := v.(*goja.Object)
	return ok && o.ClassName() == "Array"
}

// top runs the script's top level and returns the list of its hooks.
func (r *run) top() (*goja.Object, error) {
	vm := r.vm
	vm.SetMaxCallStackSize(maxCalls)
	now := r.call.now
	vm.SetTimeSource(func() time.Time { return now })
	var random *rand.Rand
	vm.SetRandSource(func() float64 {
		if random == nil {
			random = rand.New(rand.NewPCG(uint64(r.call.seed), 0)) //nolint:gosec // deterministic on purpose
		}
		return random.Float64()
	})
	value, err := vm.RunProgram(r.c.program)
	if err != nil {
		return nil, err
	}
	outer := value.(*goja.Object)
	r.host = goja.Undefined()
	if r.c.host {
		r.host = vm.ToValue(r.native)
	}
	if err := r.disableEval(outer); err != nil {
		return nil, err
	}
	call, _ := goja.AssertFunction(outer)
	list, err := call(goja.Undefined(), r.host, vm.ToValue(hostLog), vm.ToValue(hostLine))
	if err != nil {
		return nil, err
	}
	return list.(*goja.Object), nil
}

// disableEval takes away all that makes code of strings. The names eval and
// Function are left alone where the script mentions neither them nor globalThis:
// there is no other way to them (code is strict, so that this is never the
// global object), and taking them away costs more than most hooks.
func (r *run) disableEval(function *goja.Object) error {
	if r.c.global {
		for _, name := range []string{"eval", "Function"} {
			if err := r.vm.GlobalObject().Set(name, r.host); err != nil {
				return err
			}
		}
	}
	err := function.Prototype().DefineDataProperty("constructor", r.host, goja.FLAG_FALSE, goja.FLAG_FALSE, goja.FLAG_FALSE)
	if err != nil || !r.c.harden {
		return err
	}
	value, err := r.vm.RunProgram(removeConstructors)
	if err != nil {
		return err
	}
	call, _ := goja.AssertFunction(value)
	_, err = call(goja.Undefined(), r.host)
	return err
}

// native is the one function of ours that a script can reach. Scripts know it
// as eval and Function; the prelude calls it with a number.
func (r *run) native(call goja.FunctionCall) goja.Value {
	switch call.Argument(0).Export() {
	case int64(hostLog):
		r.log(call.Argument(1))
		return goja.Undefined()
	case int64(hostCover):
		if r.c.cover != nil {
			r.c.cover.hit(call.Argument(1).ToInteger())
		}
		return goja.Undefined()
	case int64(hostTable):
		return r.table(call)
	case int64(hostPhrases):
		return r.find(call)
	case int64(hostExamples):
		return r.guess(call)
	case int64(hostLine):
		return r.vm.ToValue(r.c.where(r.vm.CaptureCallStack(4, nil)))
	}
	panic(r.vm.NewTypeError("code cannot be made of strings here: there is no eval and no Function"))
}

// log keeps a console line.
func (r *run) log(args goja.Value) {
	switch n := len(r.res.log); {
	case n == MaxLog:
		r.res.log = append(r.res.log, "… (more console lines are not kept)")
		return
	case n > MaxLog:
		return
	}
	var line strings.Builder
	list, ok := args.(*goja.Object)
	if !ok {
		return
	}
	n := min(list.Get("length").ToInteger(), 20)
	for i := range n {
		if i > 0 {
			line.WriteByte(' ')
		}
		v := list.Get(fmt.Sprint(i))
		if o, ok := v.(*goja.Object); ok && o.ClassName() != "Error" {
			e := encoder{limit: 4 * MaxLogLine}
			if err := e.value(v, 0); err == nil {
				line.Write(e.buf)
			} else {
				line.WriteString("[" + err.Error() + "]")
			}
		} else {
			line.WriteString(v.String())
		}
		if line.Len() > MaxLogLine {
			break
		}
	}
	r.res.log = append(r.res.log, clip(line.String(), MaxLogLine))
}

// guard runs a step and turns however it fails into the result's failure. Only
// the first failure of a call is kept.
func (r *run) guard(step func() error) {
	err := try(step)
	if err == nil {
		return
	}
	f, message, line, stopped := failureScript, "", "", false
	var exception *goja.Exception
	var interrupted *goja.InterruptedError
	var overflow *goja.StackOverflowError
	var thrown *thrownError
	var broken *brokenError
	switch {
	case errors.As(err, &interrupted):
		message, stopped = fmt.Sprintf("took longer than %v and was stopped", interrupted.Value()), true
		line = r.c.where(interrupted.Stack())
	case errors.As(err, &overflow):
		message = fmt.Sprintf("calls nested deeper than %d", maxCalls)
		line = r.c.where(overflow.Stack())
	case errors.As(err, &exception):
		// The text of what was thrown may be the script's own toString.
		err := try(func() error { message = exception.Value().String(); return nil })
		if err != nil {
			message, stopped = "threw what cannot be shown", true
		}
		line = r.c.where(exception.Stack())
	case errors.As(err, &thrown):
		if try(func() error { message = thrown.value.String(); return nil }) != nil {
			message, stopped = "threw what cannot be shown", true
		}
	case errors.As(err, &broken):
		f, message, stopped = failureWorker, broken.Error(), true
	default:
		message = err.Error()
	}
	r.res.stopped = r.res.stopped || stopped
	if r.res.failure == failureNone {
		r.res.failure, r.res.message, r.res.line = f, message, line
		r.res.answer = ""
	}
}

// thrownError is what the virtual machine throws while no script runs: at a value
// that breaks its rules, such as a proxy.
type thrownError struct{ value goja.Value }

func (e *thrownError) Error() string { return "the script returned what cannot be read" }

// brokenError is a panic of the virtual machine's: a bug of ours or its.
type brokenError struct{ value any }

func (e *brokenError) Error() string { return fmt.Sprintf("the script engine failed: %v", e.value) }

// try runs a step and returns what it panicked with as an error.
func try(step func() error) (err error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case *goja.Exception:
			err = x
		case *goja.InterruptedError:
			err = x
		case *goja.StackOverflowError:
			err = x
		case goja.Value:
			err = &thrownError{x}
		default:
			err = &brokenError{x}
		}
	}()
	return step()
}

// clock interrupts a script when it has had its time. What counts is CPU time,
// where that can be told: a script is not to blame for a busy machine.
type clock struct {
	soft, hard time.Duration

	mu      sync.Mutex
	timer   *time.Timer
	vm      *goja.Runtime // running, or nil
	started time.Time
	// base is the process's CPU time at a moment at most a few milliseconds
	// before the script started, see mark.
	base time.Duration
}

func newClock(soft, hard time.Duration) *clock {
	c := &clock{soft: soft, hard: hard}
	c.timer = time.AfterFunc(time.Hour, c.ring)
	c.timer.Stop()
	return c
}

// mark takes the CPU time, which is too slow to ask for every call.
func (c *clock) mark() {
	c.mu.Lock()
	c.base = cpuTime()
	c.mu.Unlock()
}

func (c *clock) start(vm *goja.Runtime) {
	c.mu.Lock()
	c.vm, c.started = vm, time.Now()
	c.mu.Unlock()
	c.timer.Reset(c.soft)
}

func (c *clock) stop() {
	c.timer.Stop()
	c.mu.Lock()
	c.vm = nil
	c.mu.Unlock()
}

func (c *clock) ring() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.vm == nil {
		return
	}
	wall := time.Since(c.started)
	if wall < c.soft { // another call began meanwhile
		return
	}
	used := cpuTime() - c.base
	if left := c.soft - used; left > time.Millisecond && wall < starved*c.hard {
		c.timer.Reset(left)
		return
	}
	c.vm.Interrupt(c.soft)
}

//go:build linux

package script

import "os"

// What tests look at from outside.
var (
	LimitResources = limitResources
	RestrictFiles  = restrictFiles
	FilterCalls    = filterCalls
)

// WorkerPIDs returns the processes of a tenant's idle workers.
func (e *Engine) WorkerPIDs(tenant string) (pids []int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.tenants[tenant].idle {
		pids = append(pids, w.proc.Pid)
	}
	return pids
}

// Workers returns how many worker processes there are.
func (e *Engine) Workers() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.workers
}

// TellEnds has a function told of each worker's end.
func (o *Options) TellEnds(f func(*os.ProcessState)) { o.ended = f }

// CPUTimeOf is the CPU time that a worker has used.
var CPUTimeOf = cpuTimeOf

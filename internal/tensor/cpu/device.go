package cpu

// Device computes in float32 on the processor's cores.
type Device struct {
	pool     *pool
	scratch_ [][]float32 // one for each thread
	shared_  []float32
}

// New returns a device that uses so many threads, 0 for all cores.
func New(threads int) *Device {
	p := newPool(threads)
	return &Device{pool: p, scratch_: make([][]float32, p.threads)}
}

// scratch returns n floats that belong to the thread until its task ends.
func (d *Device) scratch(thread, n int) []float32 {
	if len(d.scratch_[thread]) < n {
		d.scratch_[thread] = make([]float32, n)
	}
	return d.scratch_[thread][:n]
}

// shared returns n floats for one operation.
func (d *Device) shared(n int) []float32 {
	if len(d.shared_) < n {
		d.shared_ = make([]float32, n)
	}
	return d.shared_[:n]
}

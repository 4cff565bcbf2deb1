package deflate

// ahead is how many blocks may be in progress beyond one for each worker, since input comes in bursts.
const ahead = 4

// Pool compresses the blocks of several streams at a time. It takes about 3 MiB of memory for each worker and 2 MiB for
// each open stream. It is safe for concurrent use. It has no goroutines once its writers are closed.
type Pool struct {
	level     int
	perStream int           // blocks of one stream that may wait to be delivered; less than the capacity of room
	workers   chan struct{} // one element for each busy encoder
	idle      chan *Encoder // idle encoders
	room      chan struct{} // one element for each block in progress, from its first byte until it is delivered
	free      chan []byte   // buffers of blocks, with room for a dictionary
	outs      chan []byte   // buffers of compressed blocks
}

// job is a block in progress.
type job struct {
	data  []byte
	start int // where the dictionary ends and the block begins
	final bool
	isOwn bool // the block takes no element of room
	out   []byte
	ready chan struct{}
}

// NewPool returns a pool with the given number of workers for a level from [MinLevel] to [MaxLevel].
func NewPool(level, workers int) (*Pool, error) {
	workers = max(workers, 1)
	blocks := workers + ahead
	p := &Pool{
		level: level, perStream: blocks - 3, workers: make(chan struct{}, workers), idle: make(chan *Encoder, workers),
		room: make(chan struct{}, blocks),
		free: make(chan []byte, blocks), outs: make(chan []byte, blocks),
	}
	e, err := NewEncoder(level)
	if err != nil {
		return nil, err
	}
	p.idle <- e
	return p, nil
}

// compress compresses a block.
func (p *Pool) compress(j *job) {
	p.workers <- struct{}{}
	var e *Encoder
	select {
	case e = <-p.idle:
	default:
		e, _ = NewEncoder(p.level) // cannot fail: NewPool checked the level
	}
	j.out = e.appendBlock(reuse(p.outs, blockSize), j.data, j.start, j.final)
	p.idle <- e
	<-p.workers
	recycle(p.free, j.data)
	close(j.ready)
}

// reuse takes a free buffer, or makes one of the given size.
func reuse(from chan []byte, size int) []byte {
	select {
	case b := <-from:
		return b[:0]
	default:
		return make([]byte, 0, size)
	}
}

func recycle(to chan []byte, b []byte) {
	select {
	case to <- b:
	default:
	}
}

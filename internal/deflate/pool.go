package deflate

// ahead is how many blocks more than the workers have may be on their way: what is read comes in bursts.
const ahead = 4

// Pool compresses the blocks of several streams at a time. Its memory is about 3 MiB for each worker, and 2 MiB for each stream that
// is open. It is safe for concurrent use, and keeps no goroutines when its writers are closed.
type Pool struct {
	level     int
	perStream int           // blocks of one stream that may wait to be delivered, fewer than there is room for
	workers   chan struct{} // room for those that are busy
	idle      chan *Encoder // of those that are not
	room      chan struct{} // for blocks on their way, from the first byte until they are delivered
	free      chan []byte   // buffers of blocks, with room for a dictionary
	outs      chan []byte   // buffers of compressed blocks
}

// job is a block on its way.
type job struct {
	data  []byte
	start int // where the dictionary ends and the block begins
	final bool
	isOwn bool // it took no room
	out   []byte
	ready chan struct{}
}

// NewPool returns a pool of so many workers for a level from [MinLevel] to [MaxLevel].
func NewPool(level, workers int) (*Pool, error) {
	workers = max(workers, 1)
	blocks := workers + ahead
	p := &Pool{
		level: level, perStream: blocks - 3, workers: make(chan struct{}, workers), idle: make(chan *Encoder, workers), room: make(chan struct{}, blocks),
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
		e, _ = NewEncoder(p.level) // the level was looked at
	}
	j.out = e.appendBlock(reuse(p.outs, blockSize), j.data, j.start, j.final)
	p.idle <- e
	<-p.workers
	recycle(p.free, j.data)
	close(j.ready)
}

// reuse takes a buffer that is empty, or makes one of a size.
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

package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"golang.org/x/time/rate"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// Options are the options of a [Client]. The zero value is what most callers need: it keeps nothing.
type Options struct {
	// Stall is how long to wait for the next byte before the connection is given up; 0 means 30 seconds.
	Stall time.Duration
	// Attempts is how often all endpoints are tried without a new byte before a blob fails; 0 means 8. With the pauses
	// between them, 8 attempts take about half a minute if they fail at once.
	Attempts int
	// MaxWait is how long to wait in all, without a new byte, for servers that say when to come back; 0 means 10 minutes.
	// If a server asks for more, the blob fails at once.
	MaxWait time.Duration
	// Rate is the largest number of bytes that all readers of the client together read from the network in a second; 0
	// means no limit.
	Rate int64
	// Dir is the directory in which begun blobs are kept, or empty. It is created if its parent exists. If it cannot be
	// used, nothing more is kept, and Notice is told so once.
	Dir string
	// MaxKept is how many bytes the files in Dir may have together; 0 means 4 GiB.
	MaxKept int64
	// Notice is called, if set, when reading is delayed, by the goroutine that reads.
	Notice func(Notice)
	// Clock tells the time, for pauses and the age of kept files; nil means the machine's. Stall and Rate do not use it.
	Clock Clock
}

// A Clock tells the time and waits.
type Clock interface {
	Now() time.Time
	// Sleep waits. It returns the context's error if the context ends first.
	Sleep(ctx context.Context, d time.Duration) error
}

const (
	defaultStall    = 30 * time.Second
	defaultAttempts = 8
	defaultMaxWait  = 10 * time.Minute
	defaultMaxKept  = 4 << 30
)

// A Notice says why a blob is not coming, or is not kept.
type Notice struct {
	// Digest is the digest of the blob.
	Digest digest.Digest
	// Offset is the number of bytes that were read, of Size.
	Offset, Size int64
	// Endpoint is the repository that failed, or empty if the notice is about the kept bytes.
	Endpoint string
	// Err is what happened.
	Err error
	// Wait is how long the reader waits now. It is 0 if it goes on at once, at this or another endpoint.
	Wait time.Duration
}

// String returns the notice as a sentence for users.
func (n Notice) String() string {
	if n.Endpoint == "" {
		return fmt.Sprintf("what is read of blob %s is not kept: %v", short(n.Digest), n.Err)
	}
	then := "going on at once"
	if n.Wait > 0 {
		then = fmt.Sprintf("waiting %v", n.Wait.Round(time.Second/10))
	}
	return fmt.Sprintf("blob %s, after %s of %s: %v: %s",
		short(n.Digest), sizes.Format(n.Offset), sizes.Format(n.Size), n.Err, then)
}

// short returns the beginning of a digest, which is enough to recognise a layer.
func short(d digest.Digest) string {
	if s := d.String(); len(s) > 19 {
		return s[:19]
	}
	return d.String()
}

// A Client reads the blobs of one image. Several goroutines may use it.
type Client struct {
	opts      Options
	endpoints []*endpoint
	limit     *rate.Limiter
	keeper    *keeper
	// maxConnections bounds the requests for a blob; see the constant.
	maxConnections int
}

// New returns a client for an image in a registry. The image's name may have a tag or a digest: some mirrors are only
// for one of them. No request is sent before a blob is opened. The caller closes the client.
func New(image string, registry access.Options, opts Options) (*Client, error) {
	places, err := registry.Endpoints(image)
	if err != nil {
		return nil, err
	}
	c := &Client{opts: opts.withDefaults(), maxConnections: maxConnections}
	for _, p := range places {
		c.endpoints = append(c.endpoints, newEndpoint(p, c.opts.Clock))
	}
	if c.opts.Rate > 0 {
		// What is read at once is a fraction of a second's bytes, so that the rate is even.
		c.limit = rate.NewLimiter(rate.Limit(c.opts.Rate), int(min(max(c.opts.Rate/8, 4<<10), 256<<10)))
	}
	if c.opts.Dir != "" {
		c.keeper = &keeper{dir: c.opts.Dir, max: c.opts.MaxKept, now: c.opts.Clock.Now}
	}
	return c, nil
}

func (o Options) withDefaults() Options {
	setDefault(&o.Stall, defaultStall)
	setDefault(&o.Attempts, defaultAttempts)
	setDefault(&o.MaxWait, defaultMaxWait)
	setDefault(&o.MaxKept, defaultMaxKept)
	if o.Clock == nil {
		o.Clock = machineClock{}
	}
	return o
}

func setDefault[T int | int64 | time.Duration](p *T, value T) {
	if *p <= 0 {
		*p = value
	}
}

// Close closes idle connections. Readers must be closed first.
func (c *Client) Close() {
	for _, e := range c.endpoints {
		e.close()
	}
}

// ErrSize is returned for descriptors without a size.
var ErrSize = errors.New("the size of the blob is not known")

// Blob opens a blob. Its digest and size are needed; other fields of the descriptor are not used. Without kept bytes it
// returns when the registry begins to send, so that many errors come at once; with kept bytes no request is made before
// they were read. The context covers reading, too. The reader is for one goroutine, and must be closed. It ends with
// [io.EOF] after exactly the size of the descriptor; the digest is not checked.
func (c *Client) Blob(ctx context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	if err := d.Digest.Validate(); err != nil {
		return nil, fmt.Errorf("digest of a blob: %w", err)
	}
	if d.Size < 0 {
		return nil, ErrSize
	}
	b := &blob{c: c, ctx: ctx, digest: d.Digest, size: d.Size}
	if c.keeper != nil && d.Size >= minKept && !c.keeper.failed.Load() {
		kept, err := c.keeper.open(ctx, d.Digest, d.Size)
		if err != nil && ctx.Err() == nil && !c.keeper.failed.Swap(true) {
			b.notice(Notice{Err: err})
		}
		b.keep(kept)
	}
	if !b.resuming {
		if err := b.connect(); err != nil {
			return nil, errors.Join(b.fail(err), b.Close())
		}
	}
	return b, nil
}

// machineClock is the clock of the machine.
type machineClock struct{}

func (machineClock) Now() time.Time { return time.Now() }

func (machineClock) Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

const (
	firstPause = 500 * time.Millisecond
	maxPause   = 30 * time.Second
)

// pause returns how long to wait after n failures in a row: nothing after the first, then a time that doubles. A tenth
// of it is by chance, so that readers do not come back all at once.
func pause(n int) time.Duration {
	if n <= 1 {
		return 0
	}
	return jitter(min(firstPause<<min(n-2, 10), maxPause))
}

// jitter returns the duration with up to a tenth added.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/10+1) }

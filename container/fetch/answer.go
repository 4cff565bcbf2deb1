package fetch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// extent is which bytes of a blob an answer has.
type extent struct {
	// from and to are the first byte, and the one after the last.
	from, to int64
	// open is set if the server did not say how many bytes it sends.
	open bool
}

// checkAnswer returns which bytes of a blob an answer has. It must be all of the blob, or a part that begins at offset,
// if a part was asked for.
func checkAnswer(res *http.Response, endpoint string, offset, size int64, ranged bool) (extent, error) {
	bad := func(wrongSize bool, format string, args ...any) (extent, error) {
		return extent{}, &AnswerError{Endpoint: endpoint, Problem: fmt.Sprintf(format, args...), size: wrongSize}
	}
	switch {
	case res.StatusCode == http.StatusOK:
		if res.ContentLength >= 0 && res.ContentLength != size {
			return bad(true, "the blob has %d bytes, and its descriptor says %d", res.ContentLength, size)
		}
		return extent{from: 0, to: size, open: res.ContentLength < 0}, nil
	case res.StatusCode != http.StatusPartialContent || !ranged:
		return bad(false, "status %d", res.StatusCode)
	}
	header := res.Header.Get("Content-Range")
	first, last, total, ok := parseContentRange(header)
	switch {
	case !ok:
		return bad(false, "Content-Range %.60q", header)
	case total >= 0 && total != size:
		return bad(true, "the blob has %d bytes, and its descriptor says %d", total, size)
	case first != offset || last < first || last >= size:
		return bad(false, "Content-Range %.60q for the bytes from %d, of %d", header, offset, size)
	case res.ContentLength >= 0 && res.ContentLength != last-first+1:
		return bad(false, "Content-Range %.60q with %d bytes", header, res.ContentLength)
	}
	return extent{from: first, to: last + 1, open: res.ContentLength < 0}, nil
}

// parseContentRange parses "bytes 5-9/10". The total is -1 if it is "*".
func parseContentRange(s string) (first, last, total int64, ok bool) {
	s, ok = strings.CutPrefix(s, "bytes ")
	span, size, ok2 := strings.Cut(s, "/")
	from, to, ok3 := strings.Cut(span, "-")
	if !ok || !ok2 || !ok3 {
		return 0, 0, 0, false
	}
	numbers := []int64{0, 0, -1}
	for i, text := range []string{from, to, size} {
		if i == 2 && text == "*" {
			break
		}
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return 0, 0, 0, false
		}
		numbers[i] = int64(n)
	}
	return numbers[0], numbers[1], numbers[2], true
}

// body reads an answer. It fails with [ErrStalled] if nothing comes for a while, and reads no faster than allowed.
type body struct {
	extent

	endpoint *endpoint
	r        io.ReadCloser
	ctx      context.Context
	cancel   context.CancelCauseFunc
	timer    *time.Timer
	stall    time.Duration
	limit    *rate.Limiter
	read     bool // something was read
}

func (b *body) Read(p []byte) (int, error) {
	if b.limit != nil && len(p) > b.limit.Burst() {
		p = p[:b.limit.Burst()]
	}
	b.timer.Reset(b.stall)
	n, err := b.r.Read(p)
	b.timer.Stop()
	if err != nil && err != io.EOF {
		err = stalled(b.ctx, b.stall, err)
	}
	if n > 0 && !b.read {
		b.read = true
		b.endpoint.succeeded()
	}
	if n > 0 && b.limit != nil {
		wait := machineClock{}.Sleep(b.ctx, b.limit.ReserveN(time.Now(), n).Delay())
		if err == nil && wait != nil {
			err = wait
		}
	}
	return n, err
}

func (b *body) close() {
	b.timer.Stop()
	b.cancel(nil)
	// Everything that counts was read.
	_ = b.r.Close()
}

// stalled returns the error of a request, which is [ErrStalled] if its context ended with that.
func stalled(ctx context.Context, stall time.Duration, err error) error {
	if errors.Is(context.Cause(ctx), ErrStalled) {
		return fmt.Errorf("%w for %v", ErrStalled, stall)
	}
	return err
}

// ask sends a request for the bytes of a blob from offset on, without a Range header if whole is set. The answer may
// have all bytes.
func (c *Client) ask(ctx context.Context, e *endpoint, path string, offset, size int64, whole bool) (*body, error) {
	b := &body{endpoint: e, stall: c.opts.Stall, limit: c.limit}
	b.ctx, b.cancel = context.WithCancelCause(ctx)
	b.timer = time.AfterFunc(b.stall, func() { b.cancel(ErrStalled) })
	// The bytes of a blob are those that are stored; they must not be compressed on the way.
	header := http.Header{"Accept-Encoding": {"identity"}}
	ranged := offset > 0 && !whole
	if ranged {
		header.Set("Range", "bytes="+strconv.FormatInt(offset, 10)+"-")
	}
	res, err := e.get(b.ctx, path, header) //nolint:bodyclose // close does it
	b.timer.Stop()
	if err != nil {
		err = stalled(b.ctx, b.stall, err)
		b.cancel(nil)
		return nil, err
	}
	b.r = res.Body
	if b.extent, err = checkAnswer(res, e.place.String(), offset, size, ranged); err != nil {
		b.close()
		return nil, err
	}
	return b, nil
}

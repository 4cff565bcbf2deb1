package ctxio_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ostree-ext/ostree-ext-go/internal/ctxio"
)

func TestReadingAndWritingEndWithTheContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	r := ctxio.Reader(ctx, strings.NewReader("abc"))
	var out bytes.Buffer
	w := ctxio.Writer(ctx, &out)
	one := make([]byte, 1)
	if n, err := r.Read(one); n != 1 || err != nil {
		t.Errorf("reading before the end: %d, %v", n, err)
	}
	if n, err := w.Write(one); n != 1 || err != nil {
		t.Errorf("writing before the end: %d, %v", n, err)
	}
	cancel()
	if rest, err := io.ReadAll(r); len(rest) != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("reading after the end: %q, %v", rest, err)
	}
	if n, err := w.Write(one); n != 0 || !errors.Is(err, context.Canceled) || out.String() != "a" {
		t.Errorf("writing after the end: %d, %v, and %q was written", n, err, out.String())
	}
}

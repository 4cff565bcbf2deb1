package fetch_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/ostree-ext/ostree-ext-go/container/fetch"
	"github.com/ostree-ext/ostree-ext-go/internal/testhome"
)

// TestMain runs the tests or, in the process that a test kills, reads a blob until then.
func TestMain(m *testing.M) {
	if args := os.Getenv("FETCH_TEST_READ"); args != "" {
		err := readForEver(strings.Split(args, " "))
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(testhome.Tests{M: m}.Run())
}

// readForEver begins a blob, and tells when the given number of bytes were read.
func readForEver(args []string) error {
	size, err := strconv.ParseInt(args[3], 10, 64)
	if err != nil {
		return err
	}
	c, err := fetch.New(args[0], plain, fetch.Options{Dir: args[1]})
	if err != nil {
		return err
	}
	r, err := c.Blob(context.Background(), ocispec.Descriptor{Digest: digest.Digest(args[2]), Size: size})
	if err != nil {
		return err
	}
	if _, err := io.CopyN(io.Discard, r, size/2); err != nil {
		return err
	}
	if _, err := fmt.Println("half"); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, r)
	return err
}

func TestABlobSurvivesTheProcessThatIsKilled(t *testing.T) {
	t.Parallel()
	data := noise(80, 8*fetch.MaxBlock)
	d := describe(data)
	s := newServer(t, data)
	s.bend = func(w http.ResponseWriter, r *http.Request, n int) bool {
		if n == 1 {
			hang(w, r, data, len(data)/2+1000)
		}
		return n == 1
	}
	dir := t.TempDir()
	victim := exec.Command(os.Args[0])
	victim.Env = append(os.Environ(), fmt.Sprintf("FETCH_TEST_READ=%s/a/b:c %s %s %d", s.host, dir, d.Digest, d.Size))
	victim.Stderr = os.Stderr
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadFull(out, make([]byte, len("half\n")))
	killed := victim.Process.Kill()
	ended := victim.Wait()
	if err != nil || killed != nil || ended == nil {
		t.Fatal(err, killed, ended)
	}
	got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, fetch.Options{Dir: dir}), d)
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
	// What was not yet written as a block is lost, and nothing else.
	if asked := s.asked(); len(asked) != 2 || asked[1] != fmt.Sprintf("bytes=%d-", 4*fetch.MaxBlock) {
		t.Errorf("the ranges were %q", asked)
	}
}

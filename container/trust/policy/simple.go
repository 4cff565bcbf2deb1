//go:build containers_image_openpgp

package policy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/opencontainers/go-digest"
	"go.podman.io/image/v5/docker"
	"go.podman.io/image/v5/docker/reference"
	"go.podman.io/image/v5/types"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/encapsulate/oci"
	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

const (
	// maxFiles is how many signatures are read from a directory. The library's limit for lookaside storages is the same.
	maxFiles = 128
	// maxSimple is the size of a simple signature above which it is not judged, and that of what it signs.
	maxSimple = 1 << 20
)

// lookaside reads the simple signatures of a document in a registry. The library knows where they are.
func (i *Image) lookaside(ctx context.Context, parsed types.ImageReference, d digest.Digest) (blobs [][]byte,
	looked []string, err error,
) {
	sys, err := i.opts.SystemContext(i.ref.Name)
	if err != nil {
		return nil, nil, err
	}
	conf, err := ReadRegistries()
	if err != nil {
		return nil, nil, err
	}
	// The library would read attachments as well, however many there are.
	file, err := conf.withoutAttachments()
	if err != nil {
		return nil, nil, err
	}
	if sys.RegistriesDirPath, err = i.tempDir(); err != nil {
		return nil, nil, err
	}
	if err := os.WriteFile(filepath.Join(sys.RegistriesDirPath, "0.yaml"), file, 0o600); err != nil {
		return nil, nil, err
	}
	if looked, err = i.lookasides(conf, sys); err != nil {
		return nil, nil, err
	}
	// By the digest, so that a tag that moved meanwhile makes no difference.
	named, err := reference.WithDigest(reference.TrimNamed(parsed.DockerReference()), d)
	if err != nil {
		return nil, nil, err
	}
	ref, err := docker.NewReference(named)
	if err != nil {
		return nil, nil, err
	}
	watched, end := i.opts.Watch(ctx, "the request for signatures")
	src, err := ref.NewImageSource(watched, sys)
	if err == nil {
		blobs, err = src.GetSignatures(watched, nil)
		err = errors.Join(err, src.Close())
	}
	err = end(err)
	if err != nil {
		if ctx.Err() != nil {
			err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
		}
		return nil, nil, fmt.Errorf("reading the signatures of %s: %w", i.ref, access.Explain(err))
	}
	return blobs, looked, nil
}

// lookasides returns the addresses at which the library looks. It allows plain HTTP for those that demand it: they
// stand in a file of the host, and signatures speak for themselves.
func (i *Image) lookasides(conf *Registries, sys *types.SystemContext) (looked []string, err error) {
	endpoints, err := i.opts.Endpoints(i.ref.Name)
	if err != nil {
		return nil, err
	}
	plain := map[string]bool{}
	for _, e := range endpoints {
		base, err := conf.lookaside(physical(e, i.ref.Name))
		if err != nil {
			return nil, err
		}
		if base == "" {
			base = "the directory that is built in"
		}
		if u, err := url.Parse(base); err == nil && u.Scheme == "http" {
			plain[u.Host] = true
		}
		looked = append(looked, base)
	}
	strict := sys.DockerProxy
	sys.DockerProxy = func(u *url.URL) (*url.URL, error) {
		if u.Scheme == "http" && plain[u.Host] {
			return http.ProxyFromEnvironment(&http.Request{URL: u})
		}
		return strict(u)
	}
	return looked, nil
}

// signatureFiles reads the signatures of a document in a directory, as the transport dir stores them.
func signatureFiles(dir string, doc oci.Document) ([][]byte, error) {
	prefix := ""
	top, err := readTop(filepath.Join(dir, "manifest.json"))
	if err != nil {
		return nil, err
	}
	if digest.FromBytes(top) != doc.Digest {
		prefix = doc.Digest.Encoded() + "."
	}
	var blobs [][]byte
	for n := 1; ; n++ {
		f, err := openRegular(filepath.Join(dir, prefix+"signature-"+strconv.Itoa(n)))
		if errors.Is(err, fs.ErrNotExist) {
			return blobs, nil
		}
		if err != nil {
			return nil, err
		}
		blob, err := io.ReadAll(io.LimitReader(f, maxSimple+1))
		switch {
		case errors.Join(err, f.Close()) != nil:
			return nil, err
		case len(blob) > maxSimple:
			return nil, fmt.Errorf("%w: %s has more than %s", ErrTooMany, f.Name(), sizes.Format(maxSimple))
		case n > maxFiles:
			return nil, fmt.Errorf("%w: %s has more than %d", ErrTooMany, dir, maxFiles)
		}
		blobs = append(blobs, blob)
	}
}

// readTop reads the manifest or the index in a directory.
func readTop(name string) (_ []byte, err error) {
	f, err := openRegular(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, oci.MaxManifestSize+1))
}

// openRegular opens a regular file. Others could make reading wait for ever.
func openRegular(name string) (*os.File, error) {
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// checkSimple says why a simple signature cannot be judged, or returns what it signs. The library puts no bound on what
// a small signature may become when it is decompressed.
func checkSimple(blob []byte) (signed []byte, problem string) {
	if len(blob) > maxSimple {
		return nil, fmt.Sprintf("it has %s, more than %s", sizes.Format(int64(len(blob))), sizes.Format(maxSimple))
	}
	if budget := int64(maxSimple); !unfolds(blob, &budget, 0) {
		return nil, fmt.Sprintf("it has more than %s when it is decompressed", sizes.Format(maxSimple))
	}
	md, err := openpgp.ReadMessage(bytes.NewReader(blob), openpgp.EntityList{}, nil, nil)
	if err == nil {
		signed, err = io.ReadAll(md.UnverifiedBody)
	}
	if err != nil {
		return nil, "" // the library says what is wrong
	}
	return signed, ""
}

// maxFolds is how often the content of a message may be compressed.
const maxFolds = 4

// unfolds reports whether the compressed packets of a message, and those in them, have no more bytes together than the
// budget. It stops where the message is broken, as every reader of it does.
func unfolds(message []byte, budget *int64, depth int) bool {
	if depth > maxFolds {
		return false
	}
	packets := packet.NewOpaqueReader(bytes.NewReader(message))
	for {
		opaque, err := packets.Next()
		if err != nil {
			return true
		}
		p, err := opaque.Parse()
		compressed, ok := p.(*packet.Compressed)
		if err != nil || !ok {
			continue
		}
		content, _ := io.ReadAll(io.LimitReader(compressed.Body, *budget+1))
		if *budget -= int64(len(content)); *budget < 0 || !unfolds(content, budget, depth+1) {
			return false
		}
	}
}

package keyless

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/tuf"
	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/ostree-ext/ostree-ext-go/internal/sizes"
)

// DefaultMirror is the TUF repository of the public good instance.
const DefaultMirror = tuf.DefaultMirror

// The names of the files in a TUF repository.
const (
	targetRoot   = "trusted_root.json"
	targetConfig = "signing_config.v0.2.json"
)

// fetchTimeout bounds how long one file of a repository may take.
const fetchTimeout = time.Minute

// The reasons why [Update] does not believe a repository.
var (
	// ErrStale is about metadata that has expired. Either the mirror is no longer updated, somebody holds back what is
	// new, or the clock is wrong.
	ErrStale = errors.New("the repository has expired: its mirror is out of date, or the clock is wrong")
	// ErrOlder is about metadata that is older than what was seen before, or of which parts are missing.
	ErrOlder = errors.New("the repository is older than it was before")
	// ErrForged is about metadata that the keys in the root did not sign, and files that are not those it names.
	ErrForged = errors.New("the repository is not signed by the keys of the root")
)

// UpdateOptions say where to get a trusted root. The zero value is for the public good instance.
type UpdateOptions struct {
	// Mirror is the URL of a TUF repository. The default is [DefaultMirror].
	Mirror string
	// Root is the root.json of the repository, from which trust in it begins. It may be an old one. The default is that
	// of the public good instance, which is part of the program.
	Root []byte
	// CacheDir is a directory that keeps what was seen last, so that an older state is noticed. It is made if needed.
	// Without it, each update is like the first.
	CacheDir string
	// SigningConfig asks for the configuration for signing too.
	SigningConfig bool
	// Client fetches. The default is [http.DefaultClient] without redirects from HTTPS to HTTP.
	Client *http.Client
}

// Updated is what an update got.
type Updated struct {
	// TrustedRoot is the content of trusted_root.json, for [New].
	TrustedRoot []byte
	// SigningConfig is the content of a configuration for signing, for [SignOptions], or empty if it was not asked for.
	SigningConfig []byte
}

// Update gets the trusted root of an instance from its TUF repository. The files are signed, with keys that are
// replaced now and then; an old root leads to those of today. An error that a repository is to blame for wraps
// [ErrStale], [ErrOlder] or [ErrForged].
func Update(ctx context.Context, o UpdateOptions) (Updated, error) {
	if o.Mirror == "" {
		o.Mirror = DefaultMirror
	}
	if len(o.Root) == 0 {
		o.Root = tuf.DefaultRoot()
	}
	if u, err := url.Parse(o.Mirror); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return Updated{}, fmt.Errorf("the mirror %q is not a URL of HTTPS, such as %s", o.Mirror, DefaultMirror)
	}
	cache := o.CacheDir
	if cache == "" {
		dir, err := os.MkdirTemp("", "ostree-ext-trust-")
		if err != nil {
			return Updated{}, err
		}
		defer os.RemoveAll(dir)
		cache = dir
	}
	files, err := fetchTargets(ctx, o, cache)
	if err != nil {
		return Updated{}, fmt.Errorf("updating from %s: %w", o.Mirror, explain(ctx, o.CacheDir, err))
	}
	return files, nil
}

func fetchTargets(ctx context.Context, o UpdateOptions, cache string) (files Updated, err error) {
	client, err := tuf.New(&tuf.Options{
		Root: o.Root, RepositoryBaseURL: o.Mirror, CachePath: cache, Fetcher: fetcher{ctx, o.Client},
	})
	if err != nil {
		return Updated{}, err
	}
	if files.TrustedRoot, err = client.GetTarget(targetRoot); err != nil {
		return Updated{}, err
	}
	if _, err := parseRoot(files.TrustedRoot); err != nil {
		return Updated{}, fmt.Errorf("%s: %w: %w", targetRoot, ErrTrustedRoot, err)
	}
	if !o.SigningConfig {
		return files, nil
	}
	if files.SigningConfig, err = client.GetTarget(targetConfig); err != nil {
		return Updated{}, err
	}
	if _, err := root.NewSigningConfigFromJSON(files.SigningConfig); err != nil {
		return Updated{}, fmt.Errorf("%s: %w", targetConfig, err)
	}
	return files, nil
}

// explain adds a reason to an error of the TUF client. cache is where the state before is kept, or empty.
func explain(ctx context.Context, cache string, err error) error {
	is := func(targets ...error) bool {
		for _, t := range targets {
			if errors.Is(err, t) {
				return true
			}
		}
		return false
	}
	_, damaged := errors.AsType[*json.SyntaxError](err)
	if cache != "" && (damaged || is(&metadata.ErrBadVersionNumber{})) {
		err = fmt.Errorf("%w (what was seen before is in %s)", err, cache)
	}
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case is(&metadata.ErrExpiredMetadata{}):
		return fmt.Errorf("%w: %w", ErrStale, err)
	case is(&metadata.ErrBadVersionNumber{}):
		return fmt.Errorf("%w: %w", ErrOlder, err)
	case is(&metadata.ErrUnsignedMetadata{}, &metadata.ErrLengthOrHashMismatch{}):
		return fmt.Errorf("%w: %w", ErrForged, err)
	}
	return err
}

// fetcher fetches the files of a repository. The client's interface has no context.
type fetcher struct {
	ctx    context.Context
	client *http.Client
}

// DownloadFile implements the fetcher interface of go-tuf. A file that is absent is told by an ErrDownloadHTTP.
func (f fetcher) DownloadFile(address string, limit int64, _ time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(f.ctx, fetchTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := cautious(f.client).Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: resp.StatusCode, URL: address}
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", address, err)
	}
	if int64(len(data)) > limit {
		return nil, &metadata.ErrDownloadLengthMismatch{Msg: fmt.Sprintf("%s has more than %s", address, sizes.Format(limit))}
	}
	return data, nil
}

// cautious returns a client that does not follow redirects from HTTPS to HTTP.
func cautious(client *http.Client) *http.Client {
	if client == nil {
		client = http.DefaultClient
	}
	c := *client
	c.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		switch {
		case via[0].URL.Scheme == "https" && req.URL.Scheme != "https":
			return fmt.Errorf("a redirect from HTTPS to %s", req.URL.Redacted())
		case len(via) >= 10:
			return errors.New("more than 10 redirects")
		}
		return nil
	}
	return &c
}

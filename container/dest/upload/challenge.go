package upload

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// challenged logs in when the registry asks for a token. The library does that only if the registry asks at the first
// request, and some let anybody make that one, and others before the first that writes.
type challenged struct {
	host   string
	before http.RoundTripper
	// logIn returns what sends requests with a token, as challenges demand it.
	logIn func(ctx context.Context, challenges []string) (http.RoundTripper, error)

	mu    sync.Mutex
	after http.RoundTripper // nil until a token was asked for
}

// RoundTrip implements [http.RoundTripper].
func (c *challenged) RoundTrip(req *http.Request) (*http.Response, error) {
	c.mu.Lock()
	after := c.after
	c.mu.Unlock()
	if after != nil {
		return after.RoundTrip(req)
	}
	res, err := c.before.RoundTrip(req)
	if err != nil || res.StatusCode != http.StatusUnauthorized || req.URL.Host != c.host ||
		req.Body != nil && req.GetBody == nil {
		return res, err
	}
	challenges := res.Header.Values("WWW-Authenticate")
	if !slices.ContainsFunc(challenges, asksForToken) {
		return res, nil
	}
	_ = res.Body.Close()
	if after, err = c.answer(req.Context(), challenges); err != nil {
		return nil, err
	}
	// The transport has prepared the request to be sent again.
	return after.RoundTrip(req)
}

func (c *challenged) answer(ctx context.Context, challenges []string) (http.RoundTripper, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.after != nil {
		return c.after, nil
	}
	after, err := c.logIn(ctx, challenges)
	if err != nil {
		return nil, err
	}
	c.after = after
	return after, nil
}

func asksForToken(challenge string) bool {
	scheme, _, _ := strings.Cut(strings.TrimSpace(challenge), " ")
	return strings.EqualFold(scheme, "bearer")
}

// asking answers the request with which the library asks how to log in, by what the registry demanded later.
type asking struct {
	http.RoundTripper
	plain      bool // the registry is reached over plain HTTP
	challenges []string
}

// RoundTrip implements [http.RoundTripper].
func (a *asking) RoundTrip(req *http.Request) (*http.Response, error) {
	switch {
	case req.URL.Path != "/v2/":
		return a.RoundTripper.RoundTrip(req)
	case a.plain != (req.URL.Scheme == "http"):
		return nil, errors.New("the registry is not reached over " + req.URL.Scheme)
	}
	return &http.Response{
		Status: "401 Unauthorized", StatusCode: http.StatusUnauthorized, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Www-Authenticate": a.challenges}, Body: http.NoBody, Request: req,
	}, nil
}

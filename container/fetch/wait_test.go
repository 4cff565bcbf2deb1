package fetch_test

import (
	"bytes"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ostree-ext/ostree-ext-go/container/access"
	"github.com/ostree-ext/ostree-ext-go/container/fetch"
)

func TestABusyServerIsAskedAgainWhenItSays(t *testing.T) {
	t.Parallel()
	data := noise(10, 100_000)
	// in is a date that is set when the server answers.
	const in = "in "
	date := func(s string) string {
		if after, ok := strings.CutPrefix(s, in); ok {
			d, _ := time.ParseDuration(after)
			return time.Now().Add(d).UTC().Format(http.TimeFormat)
		}
		return s
	}
	for _, c := range []struct {
		name   string
		status int
		header map[string]string
		times  int
		// the first pause
		from, to time.Duration
	}{
		{"429, in seconds", http.StatusTooManyRequests, map[string]string{"Retry-After": "7"}, 3,
			7 * time.Second, 8 * time.Second},
		{"429, at a date", http.StatusTooManyRequests, map[string]string{"Retry-After": in + "20s"}, 1,
			18 * time.Second, 23 * time.Second},
		{"503, at a date of a server whose clock is wrong", http.StatusServiceUnavailable,
			map[string]string{"Date": in + "1h", "Retry-After": in + "1h20s"}, 1,
			19 * time.Second, 23 * time.Second},
		{"503, in seconds, more often than attempts are made", http.StatusServiceUnavailable,
			map[string]string{"Retry-After": "2"}, 20, 2 * time.Second, 3 * time.Second},
		{"429 without a time", http.StatusTooManyRequests, nil, 3, time.Second, 1100 * time.Millisecond},
		{"429 at a time that has gone by", http.StatusTooManyRequests, map[string]string{"Retry-After": in + "-1h"},
			1, time.Second, 1100 * time.Millisecond},
		{"429 with nonsense", http.StatusTooManyRequests, map[string]string{"Retry-After": "soon"}, 1,
			time.Second, 1100 * time.Millisecond},
		{"500", http.StatusInternalServerError, nil, 3, time.Second, 1100 * time.Millisecond},
		{"502", http.StatusBadGateway, nil, 1, time.Second, 1100 * time.Millisecond},
		{"504", http.StatusGatewayTimeout, nil, 1, time.Second, 1100 * time.Millisecond},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t, data)
			s.bend = func(w http.ResponseWriter, _ *http.Request, n int) bool {
				// In the middle of a blob it is the same as at its beginning.
				if n == 1 {
					cutAfter(w, data, 50_000)
				}
				if n > c.times+1 {
					return false
				}
				for k, v := range c.header {
					w.Header().Set(k, date(v))
				}
				w.WriteHeader(c.status)
				return true
			}
			clock := newClock()
			var notices []fetch.Notice
			client := newClient(t, s.host+"/a/b:c", plain,
				fetch.Options{Clock: clock, Notice: func(n fetch.Notice) { notices = append(notices, n) }})
			got, err := read(t.Context(), client, describe(data))
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("got %d bytes, %v", len(got), err)
			}
			if len(clock.slept) != c.times || clock.slept[0] < c.from || clock.slept[0] > c.to {
				t.Errorf("waited %v, want %d times, first from %v to %v", clock.slept, c.times, c.from, c.to)
			}
			notices = slices.DeleteFunc(notices, func(n fetch.Notice) bool { return n.Wait == 0 })
			if len(notices) != c.times || notices[0].Offset != 50_000 || notices[0].Wait != clock.slept[0] ||
				!strings.Contains(notices[0].String(), strconv.Itoa(c.status)) ||
				!strings.Contains(notices[0].String(), s.host) {
				t.Errorf("the notices: %v", notices)
			}
		})
	}
}

// A server may be busy before it asks for credentials, and the server of tokens may be busy as well.
func TestABusyServerOfTokensIsWaitedFor(t *testing.T) {
	t.Parallel()
	data := noise(11, 1000)
	for _, path := range []string{"/v2/", "/token"} {
		s := newServer(t, data)
		n := 0
		s.guard = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == path {
				if n++; n == 1 || path == "/v2/" && n == 2 { // the first request to /v2/ only looks for TLS
					w.Header().Set("Retry-After", "9")
					w.WriteHeader(http.StatusTooManyRequests)
					return false
				}
			}
			return tokens(s)(w, r)
		}
		clock := newClock()
		got, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, fetch.Options{Clock: clock}), describe(data))
		if err != nil || !bytes.Equal(got, data) || clock.total() < 9*time.Second {
			t.Errorf("%s: got %d bytes, %v, waited %v", path, len(got), err, clock.slept)
		}
	}
}

func TestWaitingIsBounded(t *testing.T) {
	t.Parallel()
	data := noise(12, 1000)
	for _, c := range []struct {
		name, after string
		total       time.Duration
		requests    int
		says        string
	}{
		{"a server that wants an hour is not waited for", "3600", 0, 1, "1h0m0s"},
		{"a server that is busy for ever", "100", 11 * time.Minute, 7, "waiting"},
	} {
		s := newServer(t, data)
		s.bend = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.Header().Set("Retry-After", c.after)
			http.Error(w, `{"errors":[{"code":"TOOMANYREQUESTS","message":"slow \u001b[2Jdown"}]}`, http.StatusTooManyRequests)
			return true
		}
		clock := newClock()
		_, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, fetch.Options{Clock: clock}), describe(data))
		status, ok := errors.AsType[*access.StatusError](err)
		if !ok || status.Code != http.StatusTooManyRequests || !strings.Contains(err.Error(), c.says) ||
			!strings.Contains(err.Error(), `slow \x1b[2Jdown`) {
			t.Errorf("%s: got %v", c.name, err)
		}
		if clock.total() > c.total || len(s.asked()) != c.requests {
			t.Errorf("%s: waited %v in %d requests", c.name, clock.slept, len(s.asked()))
		}
	}
}

// What a server says to one reader holds for all.
func TestReadersDoNotAskAServerThatOneWasToldToLeave(t *testing.T) {
	t.Parallel()
	blobs := [][]byte{noise(13, 1000), noise(14, 1000)}
	s := newServer(t, blobs...)
	until := time.Now().Add(30 * time.Second)
	clock := newClock()
	early := 0
	s.bend = func(w http.ResponseWriter, _ *http.Request, n int) bool {
		if clock.Now().Before(until) {
			if n > 1 {
				early++
			}
			w.Header().Set("Retry-After", "31")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		return false
	}
	var c *fetch.Client
	nested := false
	c = newClient(t, s.host+"/a/b:c", plain, fetch.Options{Clock: clock, Notice: func(fetch.Notice) {
		if nested {
			return
		}
		// The first reader was told, and is about to wait. Meanwhile the second comes.
		nested = true
		if _, err := read(t.Context(), c, describe(blobs[1])); err != nil {
			t.Error(err)
		}
	}})
	if _, err := read(t.Context(), c, describe(blobs[0])); err != nil {
		t.Error(err)
	}
	if !nested {
		t.Error("nobody was told to wait")
	}
	if early > 0 {
		t.Errorf("%d requests came early", early)
	}
}

func TestOtherStatusesAreNotRepeated(t *testing.T) {
	t.Parallel()
	for status, says := range map[int]string{
		http.StatusNotFound:            "404 Not Found",
		http.StatusForbidden:           "403 Forbidden",
		http.StatusGone:                "410 Gone",
		http.StatusBadRequest:          "400 Bad Request",
		http.StatusTeapot:              "418",
		http.StatusNotImplemented:      "501",
		http.StatusUseProxy:            "305",
		http.StatusUnauthorized:        "401 Unauthorized",
		http.StatusNotModified:         "304",
		http.StatusMethodNotAllowed:    "405",
		http.StatusPreconditionFailed:  "412",
		http.StatusUnprocessableEntity: "422",
	} {
		s := newServer(t)
		s.bend = func(w http.ResponseWriter, _ *http.Request, _ int) bool {
			w.WriteHeader(status)
			return true
		}
		_, err := read(t.Context(), newClient(t, s.host+"/a/b:c", plain, fetch.Options{}), describe([]byte("x")))
		got, ok := errors.AsType[*access.StatusError](err)
		if !ok || got.Code != status || !strings.Contains(err.Error(), says) || len(s.asked()) != 1 {
			t.Errorf("%d: got %v after %d requests", status, err, len(s.asked()))
		}
		denied := status == http.StatusForbidden || status == http.StatusUnauthorized
		if errors.Is(err, access.ErrDenied) != denied {
			t.Errorf("%d: got %v", status, err)
		}
	}
}

package testreg

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"testing"
)

// Named serves a registry by HTTPS under names of hosts that exist nowhere else, such as registry.example, for programs
// that read the returned environment. They then use a proxy on loopback, which leads to the registry and nowhere else.
// The certificates are stored in dir.
func Named(t testing.TB, handler http.Handler, dir string, hosts ...string) (env []string) {
	t.Helper()
	ca := newCertificate(t, nil, &x509.Certificate{IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign})
	server := newCertificate(t, &ca, &x509.Certificate{DNSNames: hosts,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	file := filepath.Join(dir, "named-ca.crt")
	if err := writePEM(file, "CERTIFICATE", ca.Certificate[0]); err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0)
	s := httptest.NewUnstartedServer(handler)
	s.Config.ErrorLog, s.TLS = quiet, &tls.Config{Certificates: []tls.Certificate{server}}
	s.StartTLS()
	t.Cleanup(s.Close)
	p := httptest.NewUnstartedServer(proxy{to: s.Listener.Addr().String(), hosts: hosts})
	p.Config.ErrorLog = quiet
	p.Start()
	t.Cleanup(p.Close)
	return []string{
		"HTTPS_PROXY=" + p.URL, "https_proxy=" + p.URL, "NO_PROXY=localhost,127.0.0.1", "no_proxy=localhost,127.0.0.1",
		"SSL_CERT_FILE=" + file,
	}
}

// proxy connects to one place, whichever of its hosts is asked for.
type proxy struct {
	to    string
	hosts []string
}

// ServeHTTP implements [http.Handler].
func (p proxy) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	host, _, err := net.SplitHostPort(req.Host)
	if req.Method != http.MethodConnect || err != nil || !slices.Contains(p.hosts, host) {
		http.Error(w, "the tests do not serve "+req.Host, http.StatusForbidden)
		return
	}
	there, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	w.WriteHeader(http.StatusOK)
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	done := make(chan struct{}, 2)
	join := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go join(there, buffered)
	go join(here, there)
	<-done
}

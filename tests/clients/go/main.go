// Command go runs the Go client of etcd against a cluster and checks what it gets.
//
// Usage: go [-cacert F -cert F -key F] [-through-proxy] ENDPOINT,ENDPOINT...
// With -logins N it measures N clients that log in at once instead, on a member without users.
// Each check of each run has a prefix of its own. Exits non-zero after the first failure.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// env is what a check works with.
type env struct {
	ctx       context.Context
	c         *clientv3.Client
	p         string // the prefix of this check's keys
	endpoints []string
	tls       *tls.Config
	proxied   bool
}

var checks = []struct {
	name string
	run  func(*env) error
	// direct checks ask for what a gRPC proxy does not serve.
	direct bool
}{
	{"keys", keys, false},
	{"ranges", ranges, false},
	{"history", history, false},
	{"limits", limits, false},
	{"stream of a range", rangeStream, true},
	{"txn", txn, false},
	{"nested txn", nestedTxn, false},
	{"leases", leases, false},
	{"keep alive", keepAlive, false},
	{"expiry", expiry, false},
	{"watch", watch, false},
	{"watch filters", watchFilters, false},
	{"watch compacted", watchCompacted, false},
	{"watch progress", watchProgress, true},
	{"watch fragments", watchFragments, false},
	{"watch resumes", watchResumes, false},
	{"mutex", mutex, false},
	{"election", election, false},
	{"stm", stm, false},
	{"namespace", namespaced, false},
	{"ordering", ordered, false},
	{"leasing", leased, false},
	{"mirror", mirrored, false},
	{"naming", naming, false},
	{"members", members, true},
	{"maintenance", maintenance, false},
	{"snapshot", snapshots, false},
	{"auth", auth, false},
}

func main() {
	cacert := flag.String("cacert", "", "authorities of the members' certificates")
	cert := flag.String("cert", "", "own certificate")
	key := flag.String("key", "", "its key")
	proxied := flag.Bool("through-proxy", false, "leave out what a gRPC proxy does not serve")
	only := flag.String("only", "", "run this check alone")
	storm := flag.Int("logins", 0, "measure so many clients that log in at once")
	flag.Parse()
	security, err := tlsConfig(*cacert, *cert, *key)
	if err != nil {
		fail("TLS", err)
	}
	endpoints := strings.Split(flag.Arg(0), ",")
	if *storm > 0 {
		if err := logins(endpoints[0], *storm); err != nil {
			fail("logins", err)
		}
		return
	}
	began := time.Now()
	count := 0
	for i, check := range checks {
		if (*proxied && check.direct) || (*only != "" && *only != check.name) {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		e := &env{ctx: ctx, p: fmt.Sprintf("go/%x/%d/", began.UnixNano(), i), endpoints: endpoints, tls: security, proxied: *proxied}
		e.c, err = e.client()
		if err == nil {
			err = check.run(e)
			e.c.Close()
		}
		cancel()
		if err != nil {
			fail(check.name, err)
		}
		count++
	}
	fmt.Printf("Go client: %d checks in %v\n", count, time.Since(began).Round(time.Millisecond))
}

func fail(name string, err error) {
	fmt.Fprintf(os.Stderr, "Go client: %s: %v\n", name, err)
	os.Exit(1)
}

func tlsConfig(cacert, cert, key string) (*tls.Config, error) {
	if cacert == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(cacert)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return nil, err
	}
	return &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}, nil
}

func (e *env) config() clientv3.Config {
	return clientv3.Config{
		Endpoints:   e.endpoints,
		TLS:         e.tls,
		DialTimeout: 5 * time.Second,
		Logger:      zap.NewNop(),
	}
}

func (e *env) client() (*clientv3.Client, error) { return clientv3.New(e.config()) }

// put writes keys below the prefix: name, value, name, value.
func (e *env) put(pairs ...string) error {
	for i := 0; i < len(pairs); i += 2 {
		if _, err := e.c.Put(e.ctx, e.p+pairs[i], pairs[i+1]); err != nil {
			return err
		}
	}
	return nil
}

// want checks a value that was got against one that was wanted.
func want[T comparable](what string, got, wanted T) error {
	if got != wanted {
		return fmt.Errorf("%s: got %v, want %v", what, got, wanted)
	}
	return nil
}

// wantErr checks an error by etcd's rules: its text.
func wantErr(what string, got, wanted error) error {
	if got == nil || (!errors.Is(got, wanted) && got.Error() != wanted.Error()) {
		return fmt.Errorf("%s: got error %v, want %v", what, got, wanted)
	}
	return nil
}

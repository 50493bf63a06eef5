package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// take reads events until there are so many.
func take(ch clientv3.WatchChan, count int) ([]*clientv3.Event, error) {
	var events []*clientv3.Event
	for len(events) < count {
		response, ok := <-ch
		if !ok {
			return nil, fmt.Errorf("the watch ended after %d events", len(events))
		}
		if err := response.Err(); err != nil {
			return nil, err
		}
		for _, event := range response.Events {
			events = append(events, (*clientv3.Event)(event))
		}
	}
	return events, nil
}

func describe(events []*clientv3.Event, prefix string) string {
	var all []string
	for _, event := range events {
		word := event.Type.String() + " " + strings.TrimPrefix(string(event.Kv.Key), prefix) + "=" + string(event.Kv.Value)
		if event.PrevKv != nil {
			word += " was " + string(event.PrevKv.Value)
		}
		all = append(all, word)
	}
	return strings.Join(all, ", ")
}

func watch(e *env) error {
	before, err := e.c.Put(e.ctx, e.p+"a", "0")
	if err != nil {
		return err
	}
	from := clientv3.WithRev(before.Header.Revision)
	// Not from 0: a member that has not applied the put yet would begin before it.
	next := clientv3.WithRev(before.Header.Revision + 1)
	present := e.c.Watch(e.ctx, e.p, clientv3.WithPrefix(), next, clientv3.WithCreatedNotify())
	if created := <-present; !created.Created {
		return errors.New("the watch was not announced")
	}
	if err := e.put("a", "1", "b", "2"); err != nil {
		return err
	}
	if _, err := e.c.Txn(e.ctx).Then(clientv3.OpDelete(e.p+"a"), clientv3.OpPut(e.p+"c", "3")).Commit(); err != nil {
		return err
	}
	live, err := take(present, 4)
	if err != nil {
		return err
	}
	// Several watches of one range at once, from the past.
	for range 3 {
		past, err := take(e.c.Watch(e.ctx, e.p, clientv3.WithPrefix(), from), 5)
		if err != nil {
			return err
		}
		wanted := "PUT a=0, PUT a=1, PUT b=2, DELETE a=, PUT c=3"
		if err := want("past", describe(past, e.p), wanted); err != nil {
			return err
		}
	}
	prev, err := take(e.c.Watch(e.ctx, e.p+"a", from, clientv3.WithPrevKV()), 3)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	canceled := e.c.Watch(ctx, e.p+"a")
	cancel()
	for range canceled {
	}
	return errors.Join(
		want("live", describe(live, e.p), "PUT a=1, PUT b=2, DELETE a=, PUT c=3"),
		want("one transaction", live[2].Kv.ModRevision, live[3].Kv.ModRevision),
		want("previous", describe(prev, e.p), "PUT a=0, PUT a=1 was 0, DELETE a= was 1"),
	)
}

func watchFilters(e *env) error {
	first, err := e.c.Put(e.ctx, e.p+"a", "1")
	if err != nil {
		return err
	}
	if _, err := e.c.Delete(e.ctx, e.p+"a"); err != nil {
		return err
	}
	if err := e.put("a", "2"); err != nil {
		return err
	}
	from := clientv3.WithRev(first.Header.Revision)
	puts, err := take(e.c.Watch(e.ctx, e.p+"a", from, clientv3.WithFilterDelete()), 2)
	if err != nil {
		return err
	}
	deletes, err := take(e.c.Watch(e.ctx, e.p+"a", from, clientv3.WithFilterPut()), 1)
	if err != nil {
		return err
	}
	return errors.Join(
		want("puts", describe(puts, e.p), "PUT a=1, PUT a=2"),
		want("deletes", describe(deletes, e.p), "DELETE a="),
	)
}

func watchCompacted(e *env) error {
	first, err := e.c.Put(e.ctx, e.p+"a", "1")
	if err != nil {
		return err
	}
	if err := e.put("a", "2", "a", "3"); err != nil {
		return err
	}
	at := first.Header.Revision + 1
	if _, err := e.c.Compact(e.ctx, at); err != nil {
		return err
	}
	response := e.watchOnce(at - 1)
	// A member that lags has not compacted yet, and sends events.
	for try := 0; try < 100 && response.Err() == nil; try++ {
		time.Sleep(50 * time.Millisecond)
		response = e.watchOnce(at - 1)
	}
	return errors.Join(
		wantErr("from before", response.Err(), rpctypes.ErrCompacted),
		want("compact revision", response.CompactRevision, at),
	)
}

// watchOnce gives what a watch of key "a" says first.
func (e *env) watchOnce(from int64) clientv3.WatchResponse {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	return <-e.c.Watch(ctx, e.p+"a", clientv3.WithRev(from))
}

func watchProgress(e *env) error {
	put, err := e.c.Put(e.ctx, e.p+"a", "1")
	if err != nil {
		return err
	}
	ch := e.c.Watch(e.ctx, e.p, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	<-ch
	// A member that has not applied the put yet is asked again; the put may come as an event.
	for {
		if err := e.c.RequestProgress(e.ctx); err != nil {
			return err
		}
		response := <-ch
		for len(response.Events) > 0 {
			response = <-ch
		}
		if err := want("progress", response.IsProgressNotify(), true); err != nil {
			return err
		}
		if response.Header.Revision >= put.Header.Revision {
			return nil
		}
	}
}

func watchFragments(e *env) error {
	first, err := e.c.Put(e.ctx, e.p+"0", "")
	if err != nil {
		return err
	}
	value := strings.Repeat("v", 900*1024)
	for i := range 4 {
		if err := e.put(fmt.Sprint("big", i), value); err != nil {
			return err
		}
	}
	from := clientv3.WithRev(first.Header.Revision + 1)
	events, err := take(e.c.Watch(e.ctx, e.p, clientv3.WithPrefix(), from, clientv3.WithFragment(), clientv3.WithPrevKV()), 4)
	if err != nil {
		return err
	}
	for i, event := range events {
		if err := errors.Join(
			want("key", string(event.Kv.Key), fmt.Sprint(e.p, "big", i)),
			want("size", len(event.Kv.Value), len(value)),
		); err != nil {
			return err
		}
	}
	return nil
}

// relay passes connections on and can cut them all.
type relay struct {
	listener net.Listener
	mu       sync.Mutex
	open     []net.Conn
}

func newRelay(to string) (*relay, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &relay{listener: listener}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				in.Close()
				continue
			}
			r.mu.Lock()
			r.open = append(r.open, in, out)
			r.mu.Unlock()
			go func() { io.Copy(out, in); out.Close() }()
			go func() { io.Copy(in, out); in.Close() }()
		}
	}()
	return r, nil
}

func (r *relay) cut() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, conn := range r.open {
		conn.Close()
	}
	r.open = nil
}

func watchResumes(e *env) error {
	endpoint := e.endpoints[0]
	scheme, address, found := strings.Cut(endpoint, "://")
	if !found {
		scheme, address = "http", endpoint
	}
	r, err := newRelay(address)
	if err != nil {
		return err
	}
	defer r.listener.Close()
	config := e.config()
	config.Endpoints = []string{scheme + "://" + r.listener.Addr().String()}
	c, err := clientv3.New(config)
	if err != nil {
		return err
	}
	defer c.Close()
	ch := c.Watch(e.ctx, e.p, clientv3.WithPrefix(), clientv3.WithCreatedNotify())
	if created := <-ch; !created.Created {
		return errors.New("the watch was not announced")
	}
	const rounds, each = 4, 50
	failed := make(chan error, 1)
	go func() {
		for i := range rounds * each {
			if i%each == each/2 {
				r.cut()
				time.Sleep(10 * time.Millisecond)
			}
			if err := e.put(fmt.Sprintf("%04d", i), ""); err != nil {
				failed <- err
				return
			}
		}
		failed <- nil
	}()
	events, err := take(ch, rounds*each)
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	for i, event := range events {
		if err := want("event", string(event.Kv.Key), fmt.Sprintf("%s%04d", e.p, i)); err != nil {
			return err
		}
	}
	return nil
}

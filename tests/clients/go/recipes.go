package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.etcd.io/etcd/client/v3/leasing"
	"go.etcd.io/etcd/client/v3/mirror"
	"go.etcd.io/etcd/client/v3/namespace"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
	"go.etcd.io/etcd/client/v3/ordering"
)

func mutex(e *env) error {
	const workers, rounds = 5, 5
	var wait sync.WaitGroup
	failures := make(chan error, workers)
	inside := 0
	for range workers {
		wait.Add(1)
		go func() {
			defer wait.Done()
			session, err := concurrency.NewSession(e.c, concurrency.WithTTL(10))
			if err != nil {
				failures <- err
				return
			}
			defer session.Close()
			m := concurrency.NewMutex(session, e.p+"lock")
			for range rounds {
				if err := m.Lock(e.ctx); err != nil {
					failures <- err
					return
				}
				// Guarded by the lock of the cluster alone.
				inside++
				if err := m.Unlock(e.ctx); err != nil {
					failures <- err
					return
				}
			}
		}()
	}
	wait.Wait()
	close(failures)
	if err := <-failures; err != nil {
		return err
	}
	a, err := concurrency.NewSession(e.c)
	if err != nil {
		return err
	}
	b, err := concurrency.NewSession(e.c)
	if err != nil {
		return err
	}
	defer b.Close()
	first, second := concurrency.NewMutex(a, e.p+"try"), concurrency.NewMutex(b, e.p+"try")
	if err := first.Lock(e.ctx); err != nil {
		return err
	}
	locked := second.TryLock(e.ctx)
	// The end of a session unlocks.
	if err := a.Close(); err != nil {
		return err
	}
	return errors.Join(
		want("times inside", inside, workers*rounds),
		wantErr("held by another", locked, concurrency.ErrLocked),
		second.Lock(e.ctx),
	)
}

func election(e *env) error {
	sessions := make([]*concurrency.Session, 2)
	for i := range sessions {
		session, err := concurrency.NewSession(e.c, concurrency.WithTTL(10))
		if err != nil {
			return err
		}
		defer session.Close()
		sessions[i] = session
	}
	first := concurrency.NewElection(sessions[0], e.p+"seat")
	second := concurrency.NewElection(sessions[1], e.p+"seat")
	_, empty := first.Leader(e.ctx)
	if err := first.Campaign(e.ctx, "one"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	observed := second.Observe(ctx)
	seen := func(value string) error {
		for response := range observed {
			if string(response.Kvs[0].Value) == value {
				return nil
			}
		}
		return fmt.Errorf("never observed %q", value)
	}
	if err := seen("one"); err != nil {
		return err
	}
	won := make(chan error, 1)
	go func() { won <- second.Campaign(e.ctx, "two") }()
	if err := first.Proclaim(e.ctx, "still one"); err != nil {
		return err
	}
	if err := seen("still one"); err != nil {
		return err
	}
	if err := first.Resign(e.ctx); err != nil {
		return err
	}
	if err := errors.Join(<-won, seen("two")); err != nil {
		return err
	}
	leader, err := first.Leader(e.ctx)
	if err != nil {
		return err
	}
	return errors.Join(
		wantErr("nobody", empty, concurrency.ErrElectionNoLeader),
		want("leader", string(leader.Kvs[0].Value), "two"),
	)
}

func stm(e *env) error {
	const accounts, transfers, workers = 4, 10, 3
	for i := range accounts {
		if err := e.put(fmt.Sprint(i), "100"); err != nil {
			return err
		}
	}
	failures := make(chan error, workers)
	for w := range workers {
		go func() {
			var last error
			for i := range transfers {
				from, to := fmt.Sprint(e.p, (w+i)%accounts), fmt.Sprint(e.p, (w+i+1)%accounts)
				_, err := concurrency.NewSTM(e.c, func(s concurrency.STM) error {
					a, _ := strconv.Atoi(s.Get(from))
					b, _ := strconv.Atoi(s.Get(to))
					s.Put(from, fmt.Sprint(a-1))
					s.Put(to, fmt.Sprint(b+1))
					return nil
				}, concurrency.WithAbortContext(e.ctx), concurrency.WithIsolation(concurrency.RepeatableReads))
				last = errors.Join(last, err)
			}
			failures <- last
		}()
	}
	for range workers {
		if err := <-failures; err != nil {
			return err
		}
	}
	got, err := e.c.Get(e.ctx, e.p, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	sum := 0
	for _, kv := range got.Kvs {
		value, err := strconv.Atoi(string(kv.Value))
		if err != nil {
			return err
		}
		sum += value
	}
	return want("sum", sum, accounts*100)
}

func namespaced(e *env) error {
	kv := namespace.NewKV(e.c.KV, e.p)
	watcher := namespace.NewWatcher(e.c.Watcher, e.p)
	lessor := namespace.NewLease(e.c.Lease, e.p)
	lease, err := lessor.Grant(e.ctx, 60)
	if err != nil {
		return err
	}
	put, err := kv.Put(e.ctx, "a", "1", clientv3.WithLease(lease.ID))
	if err != nil {
		return err
	}
	whole, err := e.c.Get(e.ctx, e.p+"a")
	if err != nil {
		return err
	}
	short, err := kv.Get(e.ctx, "", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	events, err := take(watcher.Watch(e.ctx, "", clientv3.WithPrefix(), clientv3.WithRev(put.Header.Revision)), 1)
	if err != nil {
		return err
	}
	left, err := lessor.TimeToLive(e.ctx, lease.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	return errors.Join(
		want("whole key", len(whole.Kvs), 1),
		want("short key", string(short.Kvs[0].Key), "a"),
		want("event", describe(events, ""), "PUT a=1"),
		want("attached", string(left.Keys[0]), "a"),
	)
}

func ordered(e *env) error {
	kv := ordering.NewKV(e.c.KV, ordering.NewOrderViolationSwitchEndpointClosure(e.c))
	for i := range 20 {
		if _, err := kv.Put(e.ctx, e.p+"a", fmt.Sprint(i)); err != nil {
			return err
		}
		got, err := kv.Get(e.ctx, e.p+"a")
		if err != nil {
			return err
		}
		if err := want("value", string(got.Kvs[0].Value), fmt.Sprint(i)); err != nil {
			return err
		}
		older, err := kv.Get(e.ctx, e.p+"a", clientv3.WithSerializable())
		if err != nil {
			return err
		}
		// A proxy answers from its cache what others may have changed, never what it changed itself.
		if err := want("serializable value", string(older.Kvs[0].Value), fmt.Sprint(i)); err != nil {
			return err
		}
	}
	return nil
}

func leased(e *env) error {
	kv, closeKV, err := leasing.NewKV(e.c, e.p+"leases/", concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer closeKV()
	other, err := e.client()
	if err != nil {
		return err
	}
	defer other.Close()
	second, closeSecond, err := leasing.NewKV(other, e.p+"leases/", concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer closeSecond()
	for i := range 5 {
		value := fmt.Sprint(i)
		if _, err := kv.Put(e.ctx, e.p+"a", value); err != nil {
			return err
		}
		for _, reader := range []clientv3.KV{kv, second, kv} {
			got, err := reader.Get(e.ctx, e.p+"a")
			if err != nil {
				return err
			}
			if err := want("value", string(got.Kvs[0].Value), value); err != nil {
				return err
			}
		}
	}
	got, err := second.Txn(e.ctx).
		If(clientv3.Compare(clientv3.Value(e.p+"a"), "=", "4")).
		Then(clientv3.OpPut(e.p+"a", "5")).Commit()
	if err != nil {
		return err
	}
	last, err := kv.Get(e.ctx, e.p+"a")
	if err != nil {
		return err
	}
	return errors.Join(
		want("compared", got.Succeeded, true),
		want("last", string(last.Kvs[0].Value), "5"),
	)
}

func mirrored(e *env) error {
	if err := e.put("a", "1", "b", "2"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	syncer := mirror.NewSyncer(e.c, e.p, 0)
	base, failures := syncer.SyncBase(ctx)
	var found []string
	for response := range base {
		for _, kv := range response.Kvs {
			found = append(found, strings.TrimPrefix(string(kv.Key), e.p))
		}
	}
	if err := <-failures; err != nil {
		return err
	}
	updates := syncer.SyncUpdates(ctx)
	if err := e.put("c", "3"); err != nil {
		return err
	}
	events, err := take(updates, 1)
	if err != nil {
		return err
	}
	return errors.Join(
		want("base", strings.Join(found, ","), "a,b"),
		want("updates", describe(events, e.p), "PUT c=3"),
	)
}

func naming(e *env) error {
	manager, err := endpoints.NewManager(e.c, e.p+"service")
	if err != nil {
		return err
	}
	key := e.p + "service/one"
	if err := manager.AddEndpoint(e.ctx, key, endpoints.Endpoint{Addr: "1.2.3.4:5"}); err != nil {
		return err
	}
	// The list is of one member, which may not have applied the change yet.
	all, err := manager.List(e.ctx)
	for err == nil && len(all) == 0 {
		time.Sleep(20 * time.Millisecond)
		all, err = manager.List(e.ctx)
	}
	if err != nil {
		return err
	}
	updates, err := manager.NewWatchChannel(e.ctx)
	if err != nil {
		return err
	}
	added := <-updates
	if err := manager.DeleteEndpoint(e.ctx, key); err != nil {
		return err
	}
	removed := <-updates
	return errors.Join(
		want("listed", all[key].Addr, "1.2.3.4:5"),
		want("added", added[0].Op, endpoints.Add),
		want("removed", removed[0].Op, endpoints.Delete),
	)
}

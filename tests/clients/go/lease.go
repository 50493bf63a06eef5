package main

import (
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func leases(e *env) error {
	lease, err := e.c.Grant(e.ctx, 100)
	if err != nil {
		return err
	}
	for _, key := range []string{"a", "b"} {
		if _, err := e.c.Put(e.ctx, e.p+key, "", clientv3.WithLease(lease.ID)); err != nil {
			return err
		}
	}
	left, err := e.c.TimeToLive(e.ctx, lease.ID, clientv3.WithAttachedKeys())
	if err != nil {
		return err
	}
	all, err := e.c.Leases(e.ctx)
	if err != nil {
		return err
	}
	known := false
	for _, one := range all.Leases {
		known = known || one.ID == lease.ID
	}
	_, noLease := e.c.Put(e.ctx, e.p+"c", "", clientv3.WithLease(12345))
	if _, err := e.c.Revoke(e.ctx, lease.ID); err != nil {
		return err
	}
	_, revoked := e.c.Revoke(e.ctx, lease.ID)
	gone, err := e.c.Get(e.ctx, e.p, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	after, err := e.c.TimeToLive(e.ctx, lease.ID)
	if err != nil {
		return err
	}
	_, again := e.c.KeepAliveOnce(e.ctx, lease.ID)
	return errors.Join(
		want("granted", left.GrantedTTL, 100),
		want("left", left.TTL > 90 && left.TTL <= 100, true),
		want("attached", len(left.Keys), 2),
		want("attached key", min(string(left.Keys[0]), string(left.Keys[1])), e.p+"a"),
		want("listed", known, true),
		wantErr("no lease", noLease, rpctypes.ErrLeaseNotFound),
		wantErr("revoked twice", revoked, rpctypes.ErrLeaseNotFound),
		want("keys of a revoked lease", len(gone.Kvs), 0),
		want("time to live of a revoked lease", after.TTL, -1),
		wantErr("kept alive once", again, rpctypes.ErrLeaseNotFound),
	)
}

func keepAlive(e *env) error {
	lease, err := e.c.Grant(e.ctx, 2)
	if err != nil {
		return err
	}
	answers, err := e.c.KeepAlive(e.ctx, lease.ID)
	if err != nil {
		return err
	}
	for range 4 {
		answer, ok := <-answers
		if err := errors.Join(want("alive", ok, true), want("TTL", answer.TTL, 2)); err != nil {
			return err
		}
	}
	once, err := e.c.KeepAliveOnce(e.ctx, lease.ID)
	if err != nil {
		return err
	}
	if _, err := e.c.Revoke(e.ctx, lease.ID); err != nil {
		return err
	}
	for range answers {
	}
	return want("TTL of one renewal", once.TTL, 2)
}

func expiry(e *env) error {
	lease, err := e.c.Grant(e.ctx, 1)
	if err != nil {
		return err
	}
	put, err := e.c.Put(e.ctx, e.p+"a", "", clientv3.WithLease(lease.ID))
	if err != nil {
		return err
	}
	began := time.Now()
	events := e.c.Watch(e.ctx, e.p+"a", clientv3.WithRev(put.Header.Revision+1))
	response := <-events
	if err := response.Err(); err != nil || len(response.Events) != 1 {
		return errors.Join(err, errors.New("no event of the expiry"))
	}
	return errors.Join(
		want("kind", response.Events[0].Type, clientv3.EventTypeDelete),
		want("not before its time", time.Since(began) > 900*time.Millisecond, true),
	)
}

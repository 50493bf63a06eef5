package main

import (
	"errors"
	"fmt"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

func keys(e *env) error {
	first, err := e.c.Put(e.ctx, e.p+"a", "1")
	if err != nil {
		return err
	}
	second, err := e.c.Put(e.ctx, e.p+"a", "2", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	got, err := e.c.Get(e.ctx, e.p+"a")
	if err != nil {
		return err
	}
	none, err := e.c.Get(e.ctx, e.p+"none")
	if err != nil {
		return err
	}
	_, noKey := e.c.Put(e.ctx, "", "x")
	_, noSuch := e.c.Put(e.ctx, e.p+"b", "", clientv3.WithIgnoreValue())
	deleted, err := e.c.Delete(e.ctx, e.p+"a", clientv3.WithPrevKV())
	if err != nil {
		return err
	}
	kv := got.Kvs[0]
	return errors.Join(
		want("previous value", string(second.PrevKv.Value), "1"),
		want("value", string(kv.Value), "2"),
		want("version", kv.Version, 2),
		want("create revision", kv.CreateRevision, first.Header.Revision),
		want("mod revision", kv.ModRevision, second.Header.Revision),
		want("absent", len(none.Kvs), 0),
		wantErr("empty key", noKey, rpctypes.ErrEmptyKey),
		wantErr("ignored value of no key", noSuch, rpctypes.ErrKeyNotFound),
		want("deleted", deleted.Deleted, 1),
		want("deleted value", string(deleted.PrevKvs[0].Value), "2"),
	)
}

func ranges(e *env) error {
	if err := e.put("a", "3", "b", "2", "c", "1", "d", "0"); err != nil {
		return err
	}
	list := func(key string, opts ...clientv3.OpOption) string {
		got, err := e.c.Get(e.ctx, e.p+key, opts...)
		if err != nil {
			return err.Error()
		}
		var found []string
		for _, kv := range got.Kvs {
			found = append(found, strings.TrimPrefix(string(kv.Key), e.p)+string(kv.Value))
		}
		return fmt.Sprintf("%s count=%d more=%v", strings.Join(found, ","), got.Count, got.More)
	}
	byValue := clientv3.WithSort(clientv3.SortByValue, clientv3.SortAscend)
	down := clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend)
	err := errors.Join(
		want("prefix", list("", clientv3.WithPrefix()), "a3,b2,c1,d0 count=4 more=false"),
		want("range", list("b", clientv3.WithRange(e.p+"d")), "b2,c1 count=2 more=false"),
		want("limit", list("", clientv3.WithPrefix(), clientv3.WithLimit(2)), "a3,b2 count=4 more=true"),
		want("by value", list("", clientv3.WithPrefix(), byValue), "d0,c1,b2,a3 count=4 more=false"),
		want("down", list("", clientv3.WithPrefix(), down, clientv3.WithLimit(1)), "d0 count=4 more=true"),
		want("keys only", list("a", clientv3.WithKeysOnly()), "a count=1 more=false"),
		want("count only", list("", clientv3.WithPrefix(), clientv3.WithCountOnly()), " count=4 more=false"),
		want("serializable", list("b", clientv3.WithSerializable()), "b2 count=1 more=false"),
		want("first", list("", clientv3.WithFirstCreate()...), "a3 count=4 more=true"),
		want("last", list("", clientv3.WithLastRev()...), "d0 count=4 more=true"),
		want("empty range", list("d", clientv3.WithRange(e.p+"a")), " count=0 more=false"),
	)
	if err != nil {
		return err
	}
	deleted, err := e.c.Delete(e.ctx, e.p+"b", clientv3.WithRange(e.p+"d"))
	if err != nil {
		return err
	}
	return errors.Join(
		want("deleted", deleted.Deleted, 2),
		want("left", list("", clientv3.WithPrefix()), "a3,d0 count=2 more=false"),
	)
}

func history(e *env) error {
	first, err := e.c.Put(e.ctx, e.p+"a", "1")
	if err != nil {
		return err
	}
	if err := e.put("a", "2", "b", "1"); err != nil {
		return err
	}
	at := first.Header.Revision
	old, err := e.c.Get(e.ctx, e.p, clientv3.WithPrefix(), clientv3.WithRev(at))
	if err != nil {
		return err
	}
	_, future := e.c.Get(e.ctx, e.p+"a", clientv3.WithRev(at+1000000))
	newer, err := e.c.Get(e.ctx, e.p, clientv3.WithPrefix(), clientv3.WithMinModRev(at+2))
	if err != nil {
		return err
	}
	if _, err := e.c.Compact(e.ctx, at+1, clientv3.WithCompactPhysical()); err != nil {
		return err
	}
	_, compacted := e.c.Get(e.ctx, e.p+"a", clientv3.WithRev(at))
	_, again := e.c.Compact(e.ctx, at+1)
	return errors.Join(
		want("old count", len(old.Kvs), 1),
		want("old value", string(old.Kvs[0].Value), "1"),
		want("newer", len(newer.Kvs), 1),
		wantErr("future", future, rpctypes.ErrFutureRev),
		wantErr("compacted", compacted, rpctypes.ErrCompacted),
		wantErr("compacted again", again, rpctypes.ErrCompacted),
	)
}

func limits(e *env) error {
	_, tooLarge := e.c.Put(e.ctx, e.p+"big", strings.Repeat("x", 1600*1024))
	var ops []clientv3.Op
	for i := range 129 {
		ops = append(ops, clientv3.OpPut(fmt.Sprint(e.p, i), ""))
	}
	_, tooMany := e.c.Txn(e.ctx).Then(ops...).Commit()
	if _, err := e.c.Txn(e.ctx).Then(ops[:128]...).Commit(); err != nil {
		return err
	}
	if tooLarge == nil {
		return errors.New("a request of 1.6 MB was taken")
	}
	err := wantErr("too many operations", tooMany, rpctypes.ErrTooManyOps)
	if !e.proxied {
		err = errors.Join(err, wantErr("too large", tooLarge, rpctypes.ErrRequestTooLarge))
	} else if code := status.Code(tooLarge); code != codes.ResourceExhausted && code != codes.Unknown {
		err = errors.Join(err, fmt.Errorf("too large: %w", tooLarge))
	}
	return err
}

func rangeStream(e *env) error {
	for i := range 300 {
		if err := e.put(fmt.Sprintf("%03d", i), strings.Repeat("v", 1000)); err != nil {
			return err
		}
	}
	pieces, err := e.c.GetStream(e.ctx, e.p, clientv3.WithPrefix())
	if err != nil {
		return err
	}
	count := 0
	for piece := range pieces {
		if piece.Err() != nil {
			return piece.Err()
		}
		for _, kv := range piece.Kvs {
			if err := want("key", string(kv.Key), fmt.Sprintf("%s%03d", e.p, count)); err != nil {
				return err
			}
			count++
		}
	}
	return want("keys", count, 300)
}

func txn(e *env) error {
	if err := e.put("a", "1"); err != nil {
		return err
	}
	a := e.p + "a"
	held := func(cmps ...clientv3.Cmp) (bool, error) {
		got, err := e.c.Txn(e.ctx).If(cmps...).Then(clientv3.OpGet(a)).Else(clientv3.OpGet(e.p + "none")).Commit()
		if err != nil {
			return false, err
		}
		kvs := got.Responses[0].GetResponseRange().Kvs
		return got.Succeeded, want("branch", len(kvs) == 1, got.Succeeded)
	}
	for _, c := range []struct {
		name  string
		cmp   clientv3.Cmp
		holds bool
	}{
		{"value =", clientv3.Compare(clientv3.Value(a), "=", "1"), true},
		{"value >", clientv3.Compare(clientv3.Value(a), ">", "1"), false},
		{"version <", clientv3.Compare(clientv3.Version(a), "<", 2), true},
		{"version !=", clientv3.Compare(clientv3.Version(a), "!=", 1), false},
		{"create >", clientv3.Compare(clientv3.CreateRevision(a), ">", 0), true},
		{"mod =", clientv3.Compare(clientv3.ModRevision(a), "=", 0), false},
		{"lease =", clientv3.Compare(clientv3.LeaseValue(a), "=", 0), true},
		{"absent", clientv3.Compare(clientv3.CreateRevision(e.p+"none"), "=", 0), true},
		{"prefix", clientv3.Compare(clientv3.Value(e.p), "=", "1").WithPrefix(), true},
	} {
		holds, err := held(c.cmp)
		if err := errors.Join(err, want(c.name, holds, c.holds)); err != nil {
			return err
		}
	}
	swapped, err := e.c.Txn(e.ctx).
		If(clientv3.Compare(clientv3.Value(a), "=", "1")).
		Then(clientv3.OpPut(a, "2", clientv3.WithPrevKV()), clientv3.OpDelete(e.p+"none"), clientv3.OpGet(a)).
		Commit()
	if err != nil {
		return err
	}
	_, twice := e.c.Txn(e.ctx).Then(clientv3.OpPut(a, "3"), clientv3.OpPut(a, "4")).Commit()
	r := swapped.Responses
	return errors.Join(
		want("previous", string(r[0].GetResponsePut().PrevKv.Value), "1"),
		want("deleted", r[1].GetResponseDeleteRange().Deleted, 0),
		want("read after put", string(r[2].GetResponseRange().Kvs[0].Value), "2"),
		wantErr("one key twice", twice, rpctypes.ErrDuplicateKey),
	)
}

func nestedTxn(e *env) error {
	inner := clientv3.OpTxn(
		[]clientv3.Cmp{clientv3.Compare(clientv3.Version(e.p+"x"), "=", 0)},
		[]clientv3.Op{clientv3.OpPut(e.p+"x", "new")},
		[]clientv3.Op{clientv3.OpPut(e.p+"x", "old")},
	)
	outcome := func() (string, error) {
		got, err := e.c.Txn(e.ctx).Then(inner, clientv3.OpGet(e.p+"x")).Commit()
		if err != nil {
			return "", err
		}
		succeeded := got.Responses[0].GetResponseTxn().Succeeded
		value := got.Responses[1].GetResponseRange().Kvs[0].Value
		return fmt.Sprintf("%v %s", succeeded, value), nil
	}
	first, err := outcome()
	if err != nil {
		return err
	}
	second, err := outcome()
	return errors.Join(err, want("first", first, "true new"), want("second", second, "false old"))
}

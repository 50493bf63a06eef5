package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func members(e *env) error {
	list, err := e.c.MemberList(e.ctx)
	if err != nil {
		return err
	}
	if err := want("members", len(list.Members), len(e.endpoints)); err != nil {
		return err
	}
	if err := e.c.Sync(e.ctx); err != nil {
		return err
	}
	var hashes []uint32
	var leader uint64
	for _, endpoint := range e.endpoints {
		status, err := e.c.Status(e.ctx, endpoint)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(status.Version, "3.") || status.Leader == 0 || status.RaftIndex == 0 {
			return fmt.Errorf("status %v", status)
		}
		leader = status.Leader
	}
	put, err := e.c.Put(e.ctx, e.p+"a", "1")
	if err != nil {
		return err
	}
	for _, endpoint := range e.endpoints {
		// A member may not have applied it yet: reading there waits for that.
		config := e.config()
		config.Endpoints = []string{endpoint}
		c, err := clientv3.New(config)
		if err != nil {
			return err
		}
		_, err = c.Get(e.ctx, e.p+"a")
		c.Close()
		if err != nil {
			return err
		}
		hash, err := e.c.HashKV(e.ctx, endpoint, put.Header.Revision)
		if err != nil {
			return err
		}
		hashes = append(hashes, hash.Hash)
	}
	for _, hash := range hashes {
		if err := want("hash", hash, hashes[0]); err != nil {
			return err
		}
	}
	if len(list.Members) == 1 {
		return nil
	}
	return moveLeader(e, list, leader)
}

// moveLeader makes another member the leader.
func moveLeader(e *env, list *clientv3.MemberListResponse, leader uint64) error {
	var target uint64
	var of string
	for _, member := range list.Members {
		if member.ID == leader {
			of = member.ClientURLs[0]
		} else {
			target = member.ID
		}
	}
	config := e.config()
	config.Endpoints = []string{of}
	c, err := clientv3.New(config)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := c.MoveLeader(e.ctx, target); err != nil {
		return err
	}
	status, err := c.Status(e.ctx, of)
	if err != nil {
		return err
	}
	return want("leader", status.Leader, target)
}

func maintenance(e *env) error {
	alarms, err := e.c.AlarmList(e.ctx)
	if err != nil {
		return err
	}
	if _, err := e.c.Defragment(e.ctx, e.endpoints[0]); err != nil {
		return err
	}
	status, err := e.c.Status(e.ctx, e.endpoints[0])
	if err != nil {
		return err
	}
	return errors.Join(
		want("alarms", len(alarms.Alarms), 0),
		want("size", status.DbSize > 0 && status.DbSizeInUse > 0, true),
	)
}

func snapshots(e *env) error {
	marker := "a value that the snapshot must hold"
	if err := e.put("a", marker); err != nil {
		return err
	}
	if err := e.untilAllHave("a"); err != nil {
		return err
	}
	answer, err := e.c.SnapshotWithVersion(e.ctx)
	if err != nil {
		return err
	}
	defer answer.Snapshot.Close()
	whole, err := io.ReadAll(answer.Snapshot)
	if err != nil {
		return err
	}
	// The file, in pages, and its hash.
	if err := want("rest", len(whole)%512, sha256.Size); err != nil {
		return err
	}
	file, sum := whole[:len(whole)-sha256.Size], whole[len(whole)-sha256.Size:]
	hash := sha256.Sum256(file)
	return errors.Join(
		want("hash", bytes.Equal(hash[:], sum), true),
		want("content", bytes.Contains(file, []byte(marker)), true),
	)
}

// untilAllHave waits until every member has applied the last change of a key: what is not asked of a
// quorum, a snapshot for one, comes from any of them.
func (e *env) untilAllHave(key string) error {
	answer, err := e.c.Get(e.ctx, e.p+key)
	if err != nil {
		return err
	}
	for _, endpoint := range e.endpoints {
		status, err := e.c.Status(e.ctx, endpoint)
		for err == nil && status.Header.Revision < answer.Header.Revision {
			time.Sleep(20 * time.Millisecond)
			status, err = e.c.Status(e.ctx, endpoint)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func auth(e *env) (err error) {
	if _, err := e.c.UserAdd(e.ctx, "root", "rootpw"); err != nil {
		return err
	}
	if _, err := e.c.UserGrantRole(e.ctx, "root", "root"); err != nil {
		return err
	}
	_, noUser := e.c.UserGet(e.ctx, "nobody")
	if _, err := e.c.UserAdd(e.ctx, "alice", "pw"); err != nil {
		return err
	}
	if _, err := e.c.RoleAdd(e.ctx, "reader"); err != nil {
		return err
	}
	below := clientv3.GetPrefixRangeEnd(e.p + "open/")
	read := clientv3.PermissionType(clientv3.PermRead)
	if _, err := e.c.RoleGrantPermission(e.ctx, "reader", e.p+"open/", below, read); err != nil {
		return err
	}
	if _, err := e.c.UserGrantRole(e.ctx, "alice", "reader"); err != nil {
		return err
	}
	if err := e.put("open/a", "1", "shut/a", "2"); err != nil {
		return err
	}
	if _, err := e.c.AuthEnable(e.ctx); err != nil {
		return err
	}
	as := func(name, password string) (*clientv3.Client, error) {
		config := e.config()
		config.Username, config.Password = name, password
		return clientv3.New(config)
	}
	root, err := as("root", "rootpw")
	if err != nil {
		return err
	}
	defer func() {
		_, disabled := root.AuthDisable(e.ctx)
		for _, user := range []string{"alice", "root"} {
			_, deleted := e.c.UserDelete(e.ctx, user)
			disabled = errors.Join(disabled, deleted)
		}
		_, deleted := e.c.RoleDelete(e.ctx, "reader")
		err = errors.Join(err, disabled, deleted, root.Close())
	}()
	return authorized(e, root, as, noUser)
}

// authorized checks what users may do while authentication is on.
func authorized(e *env, root *clientv3.Client, as func(string, string) (*clientv3.Client, error), noUser error) error {
	_, wrong := as("alice", "wrong")
	alice, err := as("alice", "pw")
	if err != nil {
		return err
	}
	defer alice.Close()
	got, err := alice.Get(e.ctx, e.p+"open/", clientv3.WithPrefix())
	if err != nil {
		return err
	}
	_, shut := alice.Get(e.ctx, e.p+"shut/a")
	_, writing := alice.Put(e.ctx, e.p+"open/a", "2")
	_, inTxn := alice.Txn(e.ctx).Then(clientv3.OpGet(e.p+"open/a"), clientv3.OpGet(e.p+"shut/a")).Commit()
	_, anonymous := e.c.Get(e.ctx, e.p+"open/a")
	_, admin := alice.UserAdd(e.ctx, "eve", "pw")
	watched := <-alice.Watch(e.ctx, e.p+"shut/a")
	// A change of rights makes the old token stale; the client fetches a new one.
	both := clientv3.PermissionType(clientv3.PermReadWrite)
	if _, err := root.RoleGrantPermission(e.ctx, "reader", e.p+"shut/a", "", both); err != nil {
		return err
	}
	if _, err := alice.Put(e.ctx, e.p+"shut/a", "3"); err != nil {
		return fmt.Errorf("put with a new right: %w", err)
	}
	nobody := rpctypes.ErrUserEmpty
	if e.tls != nil {
		// The certificate names a user, who has no rights.
		nobody = rpctypes.ErrPermissionDenied
	}
	role, err := root.RoleGet(e.ctx, "reader")
	if err != nil {
		return err
	}
	return errors.Join(
		wantErr("no user", noUser, rpctypes.ErrUserNotFound),
		wantErr("wrong password", wrong, rpctypes.ErrAuthFailed),
		want("open", len(got.Kvs), 1),
		wantErr("shut", shut, rpctypes.ErrPermissionDenied),
		wantErr("writing", writing, rpctypes.ErrPermissionDenied),
		wantErr("in a transaction", inTxn, rpctypes.ErrPermissionDenied),
		wantErr("anonymous", anonymous, nobody),
		wantErr("administration", admin, rpctypes.ErrPermissionDenied),
		want("watch of what is shut", watched.Canceled, true),
		want("permissions", len(role.Perm), 2),
	)
}

package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

const (
	// stormLimit is how long the storm may last.
	stormLimit = 60 * time.Second
	// quietTime is how long writes are measured before it.
	quietTime = 5 * time.Second
)

// logins lets so many clients, each with a connection of its own, come back with a password at
// once, as they do after a member restarts, and measures writes meanwhile. The cluster is left with
// authentication off.
func logins(endpoint string, clients int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	root, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer root.Close()
	for _, err := range []error{
		second(root.RoleAdd(ctx, "root")), second(root.UserAdd(ctx, "root", "r")), second(root.UserGrantRole(ctx, "root", "root")),
		second(root.UserAdd(ctx, "alice", "the password of alice")), second(root.AuthEnable(ctx)),
	} {
		if err != nil {
			return err
		}
	}
	writer, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Username: "root", Password: "r"})
	if err != nil {
		return err
	}
	defer writer.Close()
	defer writer.AuthDisable(ctx)

	before := measure(ctx, writer, quietTime, nil)
	fmt.Printf("puts before:     %s\n", before)
	connections, err := dial(ctx, endpoint, clients)
	if err != nil {
		return err
	}
	fmt.Printf("%d connections are open\n", len(connections))
	storm, end := context.WithTimeout(ctx, stormLimit)
	defer end()
	var done, failed atomic.Int64
	var slowest atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for _, connection := range connections {
		all.Add(1)
		go func() {
			defer all.Done()
			for storm.Err() == nil {
				_, err := pb.NewAuthClient(connection).Authenticate(storm, &pb.AuthenticateRequest{Name: "alice", Password: "the password of alice"})
				if err == nil {
					done.Add(1)
					slowest.Store(max(slowest.Load(), int64(time.Since(began))))
					return
				}
				failed.Add(1)
				time.Sleep(100 * time.Millisecond)
			}
		}()
	}
	over := make(chan struct{})
	go func() { all.Wait(); close(over) }()
	during := measure(ctx, writer, stormLimit, over)
	<-over
	fmt.Printf("logins:          %d of %d in %.1f s, %d attempts failed\n", done.Load(), clients, time.Duration(slowest.Load()).Seconds(), failed.Load())
	fmt.Printf("puts meanwhile:  %s\n", during)
	for _, connection := range connections {
		connection.Close()
	}
	return nil
}

func second[T any](_ T, err error) error { return err }

// dial opens connections, some at a time.
func dial(ctx context.Context, endpoint string, count int) ([]*grpc.ClientConn, error) {
	target := "passthrough:///" + strings.TrimPrefix(endpoint, "http://")
	connections := make([]*grpc.ClientConn, count)
	places := make(chan struct{}, 100)
	errs := make([]error, count)
	var all sync.WaitGroup
	for i := range connections {
		places <- struct{}{}
		all.Add(1)
		go func() {
			defer func() { <-places; all.Done() }()
			connections[i], errs[i] = grpc.NewClient(target, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithReadBufferSize(0), grpc.WithWriteBufferSize(0))
			if errs[i] != nil {
				return
			}
			// A call that every server refuses at once brings the connection about.
			errs[i] = ignoreRefusal(pb.NewAuthClient(connections[i]).Authenticate(ctx, &pb.AuthenticateRequest{Name: "nobody", Password: "x"}))
		}()
	}
	all.Wait()
	return connections, errors.Join(errs...)
}

func ignoreRefusal(_ *pb.AuthenticateResponse, err error) error {
	if err != nil && strings.Contains(err.Error(), "authentication failed") {
		return nil
	}
	return err
}

// latencies says how long puts took.
type latencies []time.Duration

func (all latencies) String() string {
	if len(all) == 0 {
		return "none"
	}
	sort.Slice(all, func(i, j int) bool { return all[i] < all[j] })
	at := func(p float64) time.Duration {
		return all[int(p*float64(len(all)-1))].Round(10 * time.Microsecond)
	}
	return fmt.Sprintf("%d, p50 %v, p99 %v, longest %v", len(all), at(0.5), at(0.99), at(1))
}

// measure writes one key after the other until the time is up or the channel is closed.
func measure(ctx context.Context, c *clientv3.Client, limit time.Duration, over <-chan struct{}) latencies {
	var all latencies
	for end := time.Now().Add(limit); time.Now().Before(end); {
		select {
		case <-over:
			return all
		default:
		}
		began := time.Now()
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		_, err := c.Put(ctx, "logins/key", "value")
		cancel()
		if err == nil {
			all = append(all, time.Since(began))
		}
		time.Sleep(5 * time.Millisecond)
	}
	return all
}

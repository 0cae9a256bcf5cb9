// asynq under the contract of bench/peers/README.md.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
)

// What the documentation offers against slow pick-up: an empty queue is looked at this often.
const checkInterval = time.Millisecond

var payload = []byte(`{"data":"` + strings.Repeat("x", 89) + `"}`)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) < 2 {
		return fmt.Errorf("usage: peer COMMAND [NUMBER...]")
	}
	redis, err := asynq.ParseRedisURI(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	switch command := os.Args[1]; command {
	case "version":
		return print(map[string]any{"version": version()})
	case "enqueue-one":
		return enqueue(redis, number(2), 1)
	case "enqueue-concurrent":
		return enqueue(redis, number(2), number(3))
	case "enqueue-bulk": // there is no call for many tasks: as many callers as help
		return enqueue(redis, number(2), 64)
	case "schedule":
		return enqueue(redis, number(2), 64, asynq.ProcessIn(time.Hour))
	case "work":
		server, err := start(redis, number(2), func(context.Context, *asynq.Task) error { return nil })
		if err != nil {
			return err
		}
		if err := print(map[string]any{"ready": true}); err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, os.Stdin)
		server.Shutdown()
		return nil
	case "latency-idle":
		return latency(redis, number(2), time.Duration(number(3))*time.Microsecond, 0)
	case "latency-rate":
		return latency(redis, number(2), 0, number(3))
	default:
		return fmt.Errorf("no command is named %s", command)
	}
}

func number(position int) int {
	if position >= len(os.Args) {
		fmt.Fprintln(os.Stderr, "a number is missing")
		os.Exit(2)
	}
	value, err := strconv.Atoi(os.Args[position])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	return value
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, module := range info.Deps {
		if module.Path == "github.com/hibiken/asynq" {
			return strings.TrimPrefix(module.Version, "v")
		}
	}
	return "unknown"
}

func print(value any) error {
	return json.NewEncoder(os.Stdout).Encode(value)
}

func enqueue(redis asynq.RedisConnOpt, count, callers int, options ...asynq.Option) error {
	client := asynq.NewClient(redis)
	defer client.Close()
	if err := client.Ping(); err != nil {
		return err
	}
	options = append(options, asynq.Retention(time.Hour))
	var taken atomic.Int64
	var group sync.WaitGroup
	faults := make(chan error, callers)
	begun := time.Now()
	for range callers {
		group.Add(1)
		go func() {
			defer group.Done()
			for taken.Add(1) <= int64(count) {
				if _, err := client.Enqueue(asynq.NewTask("noop", payload), options...); err != nil {
					faults <- err
					return
				}
			}
		}()
	}
	group.Wait()
	seconds := time.Since(begun).Seconds()
	select {
	case err := <-faults:
		return err
	default:
		return print(map[string]any{"count": count, "seconds": seconds})
	}
}

func start(redis asynq.RedisConnOpt, slots int, handler asynq.HandlerFunc) (*asynq.Server, error) {
	server := asynq.NewServer(redis, asynq.Config{
		Concurrency:       slots,
		TaskCheckInterval: checkInterval,
		LogLevel:          asynq.ErrorLevel,
	})
	return server, server.Start(handler)
}

func latency(redis asynq.RedisConnOpt, count int, pause time.Duration, rate int) error {
	client := asynq.NewClient(redis)
	defer client.Close()
	begun := time.Now()
	sent, started := make([]time.Duration, count), make([]time.Duration, count)
	seen := make(chan struct{}, count)
	server, err := start(redis, 100, func(_ context.Context, task *asynq.Task) error {
		at := time.Since(begun)
		var body struct{ Index int }
		if err := json.Unmarshal(task.Payload(), &body); err != nil {
			return err
		}
		started[body.Index] = at
		seen <- struct{}{}
		return nil
	})
	if err != nil {
		return err
	}
	defer server.Shutdown()
	time.Sleep(500 * time.Millisecond)

	enqueue := func(index int) error {
		body := fmt.Sprintf(`{"data":"%s","index":%d}`, strings.Repeat("x", 89), index)
		task := asynq.NewTask("noop", []byte(body), asynq.Retention(time.Hour))
		sent[index] = time.Since(begun)
		_, err := client.Enqueue(task)
		return err
	}
	if rate == 0 {
		for index := range count {
			if err := enqueue(index); err != nil {
				return err
			}
			if err := await(seen); err != nil {
				return err
			}
			time.Sleep(pause)
		}
	} else {
		faults := make(chan error, count)
		first := time.Now()
		for index := range count {
			time.Sleep(time.Until(first.Add(time.Duration(index) * time.Second / time.Duration(rate))))
			go func() {
				if err := enqueue(index); err != nil {
					faults <- err
				}
			}()
		}
		for range count {
			if err := await(seen); err != nil {
				return err
			}
		}
		if len(faults) > 0 {
			return <-faults
		}
	}
	latencies := make([]float64, count)
	for index := range latencies {
		latencies[index] = float64((started[index] - sent[index]).Nanoseconds()) / 1000
	}
	return print(map[string]any{"latencies_us": latencies})
}

func await(seen chan struct{}) error {
	select {
	case <-seen:
		return nil
	case <-time.After(time.Minute):
		return fmt.Errorf("a task has not started within a minute")
	}
}

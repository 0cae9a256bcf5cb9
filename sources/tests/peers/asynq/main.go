// asynq under the contract of sources/tests/peers/README.md.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

const queue = "jobs"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	to, err := asynq.ParseRedisURI(os.Getenv("REDIS_URL"))
	if err != nil {
		return err
	}
	if len(os.Args) > 2 && os.Args[1] == "worker" {
		slots, err := strconv.Atoi(os.Args[2])
		if err != nil {
			return err
		}
		server, err := start(to, slots)
		if err != nil {
			return err
		}
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
		<-stop
		server.Shutdown()
		return nil
	}
	return serve(to)
}

func start(to asynq.RedisConnOpt, slots int) (*asynq.Server, error) {
	client := to.MakeRedisClient().(redis.UniversalClient)
	handler := func(ctx context.Context, task *asynq.Task) error {
		millis, err := strconv.Atoi(string(task.Payload()))
		if err != nil {
			return err
		}
		time.Sleep(time.Duration(millis) * time.Millisecond)
		for client.Exists(ctx, "gate").Val() == 0 {
			time.Sleep(20 * time.Millisecond)
		}
		id, _ := asynq.GetTaskID(ctx)
		return client.SAdd(ctx, "done", id).Err()
	}
	server := asynq.NewServer(to, asynq.Config{
		Concurrency:              slots,
		Queues:                   map[string]int{queue: 1},
		TaskCheckInterval:        100 * time.Millisecond,
		DelayedTaskCheckInterval: 200 * time.Millisecond,
		ShutdownTimeout:          30 * time.Second,
		GroupGracePeriod:         time.Second,
		GroupAggregator: asynq.GroupAggregatorFunc(func(_ string, tasks []*asynq.Task) *asynq.Task {
			return asynq.NewTask("task", tasks[0].Payload())
		}),
		LogLevel:                 asynq.ErrorLevel,
	})
	return server, server.Start(asynq.HandlerFunc(handler))
}

func serve(to asynq.RedisConnOpt) error {
	client, inspector := asynq.NewClient(to), asynq.NewInspector(to)
	defer client.Close()
	var server *asynq.Server
	add := func(count, millis int, options ...asynq.Option) error {
		options = append(options, asynq.Queue(queue))
		for range count {
			task := asynq.NewTask("task", []byte(strconv.Itoa(millis)))
			if _, err := client.Enqueue(task, options...); err != nil {
				return err
			}
		}
		return nil
	}
	answer := func(command string, numbers []int) (any, error) {
		switch command {
		case "add":
			return nil, add(numbers[0], numbers[1])
		case "grouped":
			return nil, add(numbers[0], numbers[1], asynq.Group("together"))
		case "later":
			return nil, add(numbers[0], 0, asynq.ProcessIn(time.Duration(numbers[1])*time.Millisecond))
		case "counts":
			info, err := inspector.GetQueueInfo(queue)
			if err != nil {
				return nil, err
			}
			return map[string]any{
				"waiting": info.Pending,
				"delayed": info.Scheduled + info.Retry,
				"active":  info.Active,
				"paused":  info.Paused,
			}, nil
		case "pause":
			return nil, inspector.PauseQueue(queue)
		case "resume":
			return nil, inspector.UnpauseQueue(queue)
		case "work":
			started, err := start(to, numbers[0])
			server = started
			return nil, err
		case "end":
			server.Shutdown()
			return nil, nil
		default:
			return nil, fmt.Errorf("no command is named %s", command)
		}
	}
	lines, out := bufio.NewScanner(os.Stdin), json.NewEncoder(os.Stdout)
	for lines.Scan() {
		words := strings.Fields(lines.Text())
		numbers := make([]int, 0, len(words))
		for _, word := range words[1:] {
			number, err := strconv.Atoi(word)
			if err != nil {
				return err
			}
			numbers = append(numbers, number)
		}
		told, err := answer(words[0], numbers)
		if err != nil {
			return err
		}
		if told == nil {
			told = struct{}{}
		}
		if err := out.Encode(told); err != nil {
			return err
		}
	}
	return lines.Err()
}

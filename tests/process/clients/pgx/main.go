// Checks a server through pgx: `pgx ADDRESS`.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"
)

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func equal[T comparable](wanted, got T) {
	if wanted != got {
		panic(fmt.Sprintf("wanted %v, got %v", wanted, got))
	}
}

func refused(state string, err error) {
	var told *pgconn.PgError
	if !errors.As(err, &told) {
		panic(fmt.Sprintf("no error %s but %v", state, err))
	}
	equal(state, told.Code)
}

func main() {
	url := fmt.Sprintf("postgresql://ada@%s/polder?sslmode=prefer", os.Args[1])
	ctx := context.Background()
	connection, err := pgx.Connect(ctx, url)
	check(err)
	types(ctx, connection)
	statements(ctx, connection)
	copies(ctx, connection)
	batches(ctx, connection)
	fails(ctx, connection)
	check(connection.Close(ctx))
	cancels(ctx, url)
	modes(ctx, url)
	pools(ctx, url)
	fmt.Println("done")
}

func types(ctx context.Context, connection *pgx.Conn) {
	var yes bool
	var small int16
	var four int32
	var eight int64
	var real float32
	var double float64
	var price pgtype.Numeric
	var text string
	var nothing *string
	var bytes []byte
	var day, moment, instant time.Time
	var numbers []int64
	row := connection.QueryRow(ctx, `SELECT true, 1::smallint, 2::int, 9007199254740993, 0.25::real, 2.5::double, 1.50::decimal(10, 2),
		'it''s', NULL, X'00ff', DATE '2024-02-29', TIMESTAMP '2024-02-29 01:02:03.5', TIMESTAMPTZ '2024-02-29T01:02:03+02',
		make_array(1, 2)`)
	check(row.Scan(&yes, &small, &four, &eight, &real, &double, &price, &text, &nothing, &bytes, &day, &moment, &instant, &numbers))
	equal(true, yes)
	equal(int16(1), small)
	equal(int32(2), four)
	equal(int64(9007199254740993), eight)
	equal(float32(0.25), real)
	equal(2.5, double)
	number, err := price.Value()
	check(err)
	equal("1.50", number.(string))
	equal("it's", text)
	equal(nil, nothing)
	equal("\x00\xff", string(bytes))
	equal("2024-02-29", day.Format(time.DateOnly))
	equal("2024-02-29T01:02:03.5", moment.Format("2006-01-02T15:04:05.9"))
	equal("2024-02-28T23:02:03Z", instant.UTC().Format(time.RFC3339))
	equal(2, len(numbers))
}

func statements(ctx context.Context, connection *pgx.Conn) {
	_, err := connection.Exec(ctx, "CREATE TABLE pgx_orders (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10, 2), at TIMESTAMPTZ)")
	check(err)
	at := time.Date(2024, 2, 29, 1, 2, 3, 0, time.UTC)
	tag, err := connection.Exec(ctx, "INSERT INTO pgx_orders VALUES ($1, $2, $3, $4), ($5, NULL, 2, NULL)", 1, "one", "1.50", at, 2)
	check(err)
	equal("INSERT 0 2", tag.String())
	rows, err := connection.Query(ctx, "SELECT id, name FROM pgx_orders WHERE price < $1 AND at = $2", 2, at)
	check(err)
	type order struct {
		ID   int64
		Name *string
	}
	orders, err := pgx.CollectRows(rows, pgx.RowToStructByPos[order])
	check(err)
	equal(1, len(orders))
	equal("one", *orders[0].Name)
	transaction, err := connection.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.Serializable})
	check(err)
	_, err = transaction.Exec(ctx, "DELETE FROM pgx_orders")
	check(err)
	check(transaction.Rollback(ctx))
	var count int64
	check(connection.QueryRow(ctx, "SELECT count(*) FROM pgx_orders").Scan(&count))
	equal(int64(2), count)
}

// CopyFrom speaks the binary format, which is not taken: the text goes by the connection below.
func copies(ctx context.Context, connection *pgx.Conn) {
	reader := strings.NewReader("10\tten\t1.00\t\\N\n11\t\\N\t2.00\t\\N\n")
	tag, err := connection.PgConn().CopyFrom(ctx, reader, "COPY pgx_orders FROM STDIN WITH (FORMAT csv, HEADER false, DELIMITER '\t', NULL '\\N')")
	check(err)
	equal("COPY 2", tag.String())
}

func batches(ctx context.Context, connection *pgx.Conn) {
	batch := &pgx.Batch{}
	for id := 100; id < 120; id++ {
		batch.Queue("INSERT INTO pgx_orders VALUES ($1, $2, 0, NULL)", id, fmt.Sprint("name ", id))
	}
	batch.Queue("SELECT count(*) FROM pgx_orders")
	results := connection.SendBatch(ctx, batch)
	for range 20 {
		tag, err := results.Exec()
		check(err)
		equal(int64(1), tag.RowsAffected())
	}
	var count int64
	check(results.QueryRow().Scan(&count))
	equal(int64(24), count)
	check(results.Close())
}

func fails(ctx context.Context, connection *pgx.Conn) {
	_, err := connection.Exec(ctx, "SELECT * FROM nothing")
	refused("42P01", err)
	_, err = connection.Exec(ctx, "INSERT INTO pgx_orders VALUES ($1, NULL, NULL, NULL)", 1)
	refused("23505", err)
	_, err = connection.Exec(ctx, "SELECT $1::int / 0", 1)
	refused("22012", err)
}

func cancels(ctx context.Context, url string) {
	connection, err := pgx.Connect(ctx, url)
	check(err)
	limited, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err = connection.Exec(limited, "SELECT count(*) FROM generate_series(1, 1000000) a, generate_series(1, 1000000) b")
	if !errors.Is(err, context.DeadlineExceeded) && !pgconn.Timeout(err) {
		panic(fmt.Sprint("it was not cancelled: ", err))
	}
}

// The other ways in which pgx sends statements, as behind a pooler.
func modes(ctx context.Context, url string) {
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		config, err := pgx.ParseConfig(url)
		check(err)
		config.DefaultQueryExecMode = mode
		connection, err := pgx.ConnectConfig(ctx, config)
		check(err)
		var name string
		check(connection.QueryRow(ctx, "SELECT name FROM pgx_orders WHERE id = $1 AND name = $2", int64(1), "one").Scan(&name))
		equal("one", name)
		check(connection.Close(ctx))
	}
}

func pools(ctx context.Context, url string) {
	pool, err := pgxpool.New(ctx, url)
	check(err)
	defer pool.Close()
	done := make(chan error)
	for range 20 {
		go func() {
			var one int64
			done <- pool.QueryRow(ctx, "SELECT 1::bigint").Scan(&one)
		}()
	}
	for range 20 {
		check(<-done)
	}
}

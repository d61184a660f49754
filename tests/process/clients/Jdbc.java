import java.math.BigDecimal;
import java.sql.BatchUpdateException;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DatabaseMetaData;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.time.LocalDate;
import java.time.LocalDateTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.UUID;

/** Checks a server through a driver of JDBC: {@code Jdbc.java (postgresql|flight) ADDRESS}. */
public final class Jdbc {
    interface Step {
        void run() throws Exception;
    }

    private final String driver;
    private final String url;

    private Jdbc(String driver, String address) {
        this.driver = driver;
        this.url = isFlight(driver)
            ? "jdbc:arrow-flight-sql://" + address + "/?useEncryption=false"
            : "jdbc:postgresql://" + address + "/polder";
    }

    public static void main(String[] arguments) throws Exception {
        Jdbc jdbc = new Jdbc(arguments[0], arguments[1]);
        jdbc.statements();
        jdbc.types();
        jdbc.parameters();
        jdbc.manyRows();
        jdbc.errors();
        jdbc.cancel();
        jdbc.describesItself();
        if (isFlight(jdbc.driver)) {
            jdbc.listingsOfFlight();
        } else {
            jdbc.batches();
            jdbc.transactions();
            jdbc.typesOfPostgres();
            jdbc.partsOfResults();
            jdbc.listingsOfPostgres();
        }
        System.out.println("done");
    }

    private static boolean isFlight(String driver) {
        return driver.equals("flight");
    }

    private Connection connect(String... options) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", "ada");
        properties.setProperty("password", "");
        for (int at = 0; at < options.length; at += 2) {
            properties.setProperty(options[at], options[at + 1]);
        }
        return DriverManager.getConnection(url, properties);
    }

    private static void equal(Object wanted, Object got) {
        if (wanted == null ? got != null : !wanted.equals(got)) {
            throw new AssertionError("wanted " + wanted + ", got " + got + (got == null ? "" : " of " + got.getClass()));
        }
    }

    private static SQLException refused(String state, Step step) throws Exception {
        try {
            step.run();
        } catch (SQLException error) {
            equal(state, error.getSQLState());
            return error;
        }
        throw new AssertionError("no error " + state);
    }

    /** What defines, writes and reads; and how many rows each has changed. */
    private void statements() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE " + driver + "_orders (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10, 2))");
            equal(2, statement.executeUpdate("INSERT INTO " + driver + "_orders VALUES (1, 'one', 1.50), (2, NULL, 20)"));
            equal(1, statement.executeUpdate("UPDATE " + driver + "_orders SET price = price + 1 WHERE id = 2"));
            equal(0, statement.executeUpdate("DELETE FROM " + driver + "_orders WHERE id = 100"));
            try (ResultSet rows = statement.executeQuery("SELECT * FROM " + driver + "_orders ORDER BY id")) {
                equal("price", rows.getMetaData().getColumnName(3));
                if (!isFlight(driver)) {
                    equal(10, rows.getMetaData().getPrecision(3));
                    equal(2, rows.getMetaData().getScale(3));
                }
                equal(true, rows.next());
                equal(1L, rows.getLong(1));
                equal("one", rows.getString("name"));
                equal(new BigDecimal("1.50"), rows.getBigDecimal(3));
                equal(true, rows.next());
                equal(null, rows.getString(2));
                equal(true, rows.wasNull());
                equal(new BigDecimal("21.00"), rows.getBigDecimal(3));
                equal(false, rows.next());
            }
        }
    }

    private void types() throws Exception {
        String query = "SELECT true AS a, 1::smallint AS b, 2::int AS c, 9007199254740993 AS d, 0.25::real AS e, 2.5::double AS f, "
            + "(-12345.6780)::decimal(20, 4) AS g, 'it''s' AS h, DATE '2024-02-29' AS i, "
            + "TIMESTAMP '2024-02-29 01:02:03.5' AS j, NULL AS k, X'00ff' AS l";
        try (Connection connection = connect(); Statement statement = connection.createStatement();
             ResultSet row = statement.executeQuery(query)) {
            equal(true, row.next());
            equal(true, row.getBoolean(1));
            equal((short) 1, row.getShort(2));
            equal(2, row.getInt(3));
            equal(9007199254740993L, row.getLong(4));
            equal(0.25f, row.getFloat(5));
            equal(2.5, row.getDouble(6));
            equal(new BigDecimal("-12345.6780"), row.getBigDecimal(7));
            equal("it's", row.getString(8));
            equal("2024-02-29", row.getDate(9).toString());
            equal("2024-02-29 01:02:03.5", row.getTimestamp(10).toString());
            equal(null, row.getObject(11));
            equal(Arrays.toString(new byte[] {0, -1}), Arrays.toString(row.getBytes(12)));
            equal(false, row.next());
        }
    }

    /** A statement that is prepared once and run often, with values of all kinds; often enough to be sent in binary. */
    private void parameters() throws Exception {
        String table = driver + "_values";
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            statement.execute("CREATE TABLE " + table + " (id BIGINT PRIMARY KEY, a BOOLEAN, b SMALLINT, c INT, d REAL, "
                + "e DOUBLE PRECISION, f DECIMAL(12, 3), g TEXT, h BYTEA, i DATE, j TIMESTAMP)");
            // The driver of Flight SQL counts milliseconds, whatever the unit of the parameter is.
            String moment = isFlight(driver) ? "?::text::timestamp" : "?";
            try (PreparedStatement insert = connection.prepareStatement(
                     "INSERT INTO " + table + " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, " + moment + ")")) {
                for (long id = 0; id < 8; id++) {
                    insert.setLong(1, id);
                    insert.setBoolean(2, id % 2 == 0);
                    insert.setShort(3, (short) id);
                    insert.setInt(4, (int) id * 1000);
                    insert.setFloat(5, id / 4f);
                    insert.setDouble(6, id / 8.0);
                    insert.setBigDecimal(7, new BigDecimal("-1.125").multiply(BigDecimal.valueOf(id)));
                    if (id == 7) {
                        insert.setNull(8, Types.VARCHAR);
                    } else {
                        insert.setString(8, "text " + id);
                    }
                    insert.setBytes(9, new byte[] {(byte) id, 0, -1});
                    insert.setDate(10, Date.valueOf(LocalDate.of(2024, 2, 29).plusDays(id)));
                    if (isFlight(driver)) {
                        insert.setString(11, "2024-02-29 01:02:03.5");
                    } else {
                        insert.setTimestamp(11, Timestamp.valueOf(LocalDateTime.of(2024, 2, 29, 1, 2, 3, 500_000_000)));
                    }
                    equal(1, insert.executeUpdate());
                }
            }
            try (PreparedStatement query = connection.prepareStatement(
                     "SELECT * FROM " + table + " WHERE id >= ? AND f <= ? ORDER BY id")) {
                for (int round = 0; round < 8; round++) {
                    query.setLong(1, 6);
                    query.setBigDecimal(2, new BigDecimal("0.000"));
                    try (ResultSet row = query.executeQuery()) {
                        equal(true, row.next());
                        equal(6L, row.getLong("id"));
                        equal(true, row.getBoolean("a"));
                        equal((short) 6, row.getShort("b"));
                        equal(6000, row.getInt("c"));
                        equal(1.5f, row.getFloat("d"));
                        equal(0.75, row.getDouble("e"));
                        equal(new BigDecimal("-6.750"), row.getBigDecimal("f"));
                        equal("text 6", row.getString("g"));
                        equal("[6, 0, -1]", Arrays.toString(row.getBytes("h")));
                        equal("2024-03-06", row.getDate("i").toString());
                        equal("2024-02-29 01:02:03.5", row.getTimestamp("j").toString());
                        equal(true, row.next());
                        equal(null, row.getString("g"));
                        equal(false, row.next());
                    }
                }
            }
        }
    }

    private void manyRows() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement();
             ResultSet rows = statement.executeQuery("SELECT value FROM generate_series(1, 100000) AS g (value)")) {
            long sum = 0;
            while (rows.next()) {
                sum += rows.getLong(1);
            }
            equal(5_000_050_000L, sum);
        }
    }

    private void errors() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            SQLException missing = refused(
                isFlight(driver) ? stateOfFlight() : "42P01", () -> statement.executeQuery("SELECT * FROM nothing").next());
            equal(true, missing.getMessage().contains("table \"nothing\" does not exist"));
            refused(isFlight(driver) ? stateOfFlight() : "42601", () -> statement.executeQuery("SELECT 1 +").next());
            refused(isFlight(driver) ? stateOfFlight() : "22012",
                () -> statement.executeQuery("SELECT 1 / (value - 1) FROM generate_series(1, 2) AS g (value)").next());
            refused(isFlight(driver) ? stateOfFlight() : "23505",
                () -> statement.executeUpdate("INSERT INTO " + driver + "_orders VALUES (1, 'again', 0)"));
            // The connection goes on.
            try (ResultSet row = statement.executeQuery("SELECT 1 AS one")) {
                equal(true, row.next());
            }
        }
    }

    /** This driver has no place for the SQLSTATE, which stands in the metadata of gRPC's status. */
    private static String stateOfFlight() {
        return null;
    }

    private void cancel() throws Exception {
        String endless = "SELECT count(*) FROM generate_series(1, 1000000) AS a (n), generate_series(1, 1000000) AS b (n)";
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            Thread other = new Thread(() -> {
                try {
                    Thread.sleep(1000);
                    statement.cancel();
                } catch (InterruptedException | SQLException error) {
                    throw new AssertionError(error);
                }
            });
            other.start();
            try {
                statement.executeQuery(endless).next();
                throw new AssertionError("it was not cancelled");
            } catch (SQLException error) {
                if (!isFlight(driver)) {
                    equal("57014", error.getSQLState());
                }
            }
            other.join();
        }
        try (Connection connection = connect(); Statement statement = connection.createStatement();
             ResultSet row = statement.executeQuery("SELECT 1 AS one")) {
            equal(true, row.next());
        }
    }

    private void describesItself() throws Exception {
        try (Connection connection = connect()) {
            DatabaseMetaData about = connection.getMetaData();
            equal(isFlight(driver) ? "Polder" : "PostgreSQL", about.getDatabaseProductName());
            equal("\"", about.getIdentifierQuoteString());
            equal(true, connection.isValid(5));
        }
    }

    private static List<String> column(ResultSet rows, String name) throws SQLException {
        List<String> values = new ArrayList<>();
        try (rows) {
            while (rows.next()) {
                values.add(rows.getString(name));
            }
        }
        return values;
    }

    private void listingsOfFlight() throws Exception {
        try (Connection connection = connect()) {
            DatabaseMetaData about = connection.getMetaData();
            equal(true, column(about.getCatalogs(), "TABLE_CAT").contains("polder"));
            equal(true, column(about.getSchemas(), "TABLE_SCHEM").contains("public"));
            equal(List.of("flight_orders"), column(about.getTables("polder", "public", "flight_ord%", null), "TABLE_NAME"));
            equal(List.of("id", "name", "price"), column(about.getColumns("polder", "public", "flight_orders", null), "COLUMN_NAME"));
            equal(true, column(about.getTableTypes(), "TABLE_TYPE").contains("TABLE"));
        }
    }

    /** What needs no pg_catalog. */
    private void listingsOfPostgres() throws Exception {
        try (Connection connection = connect()) {
            DatabaseMetaData about = connection.getMetaData();
            equal(true, about.getDatabaseMajorVersion() >= 9);
            equal(true, about.supportsTransactions());
            equal(true, column(about.getTableTypes(), "TABLE_TYPE").contains("TABLE"));
        }
    }

    private void batches() throws Exception {
        for (String rewrites : new String[] {"false", "true"}) {
            try (Connection connection = connect("reWriteBatchedInserts", rewrites); Statement statement = connection.createStatement()) {
                statement.execute("CREATE TABLE batch_" + rewrites + " (id BIGINT PRIMARY KEY, name TEXT)");
                connection.setAutoCommit(false);
                try (PreparedStatement insert = connection.prepareStatement("INSERT INTO batch_" + rewrites + " VALUES (?, ?)")) {
                    for (int id = 0; id < 100; id++) {
                        insert.setLong(1, id);
                        insert.setString(2, "name " + id);
                        insert.addBatch();
                    }
                    equal(100, insert.executeBatch().length);
                    connection.commit();
                    insert.setLong(1, 100);
                    insert.setString(2, "fine");
                    insert.addBatch();
                    insert.setLong(1, 5);
                    insert.setString(2, "there already");
                    insert.addBatch();
                    try {
                        insert.executeBatch();
                        throw new AssertionError("a key was there twice");
                    } catch (BatchUpdateException error) {
                        equal("23505", error.getSQLState());
                    }
                    connection.rollback();
                }
                try (ResultSet count = statement.executeQuery("SELECT count(*) FROM batch_" + rewrites)) {
                    equal(true, count.next());
                    equal(100L, count.getLong(1));
                }
                connection.commit();
            }
        }
    }

    private void transactions() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            connection.setTransactionIsolation(Connection.TRANSACTION_SERIALIZABLE);
            connection.setAutoCommit(false);
            equal(1, statement.executeUpdate("INSERT INTO postgresql_orders VALUES (50, 'gone', 0)"));
            connection.rollback();
            equal(1, statement.executeUpdate("INSERT INTO postgresql_orders VALUES (50, 'kept', 0)"));
            refused("42P01", () -> statement.executeQuery("SELECT * FROM nothing"));
            refused("25P02", () -> statement.executeQuery("SELECT 1"));
            connection.rollback();
            equal(1, statement.executeUpdate("INSERT INTO postgresql_orders VALUES (50, 'kept', 0)"));
            connection.commit();
            connection.setAutoCommit(true);
            try (PreparedStatement insert = connection.prepareStatement(
                     "INSERT INTO postgresql_orders VALUES (?, 'told', 1)", Statement.RETURN_GENERATED_KEYS)) {
                insert.setLong(1, 51);
                equal(1, insert.executeUpdate());
                try (ResultSet keys = insert.getGeneratedKeys()) {
                    equal(true, keys.next());
                    equal(51L, keys.getLong("id"));
                }
            }
        }
    }

    private void typesOfPostgres() throws Exception {
        UUID id = UUID.fromString("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11");
        try (Connection connection = connect(); PreparedStatement query = connection.prepareStatement(
                 "SELECT ?::uuid AS id, ?::time AS at, ?::timestamptz AS instant, make_array(1, 2) AS numbers")) {
            for (int round = 0; round < 8; round++) {
                query.setObject(1, id);
                query.setObject(2, java.time.LocalTime.of(12, 34, 56));
                query.setObject(3, java.time.OffsetDateTime.parse("2024-02-29T12:34:56+02:00"));
                try (ResultSet row = query.executeQuery()) {
                    equal(true, row.next());
                    equal(id, row.getObject("id"));
                    equal(java.time.LocalTime.of(12, 34, 56), row.getObject("at", java.time.LocalTime.class));
                    equal(java.time.OffsetDateTime.parse("2024-02-29T10:34:56Z"),
                        row.getObject("instant", java.time.OffsetDateTime.class));
                    equal("[1, 2]", Arrays.toString((Object[]) row.getArray("numbers").getArray()));
                }
            }
        }
    }

    /** Rows are fetched in parts if the driver is told so, in a transaction. */
    private void partsOfResults() throws Exception {
        try (Connection connection = connect(); Statement statement = connection.createStatement()) {
            connection.setAutoCommit(false);
            statement.setFetchSize(1000);
            long count = 0;
            try (ResultSet rows = statement.executeQuery("SELECT value FROM generate_series(1, 10500) AS g (value)")) {
                while (rows.next()) {
                    count++;
                }
            }
            equal(10_500L, count);
            connection.rollback();
        }
    }
}

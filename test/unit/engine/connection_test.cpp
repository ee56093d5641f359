#include "engine/connection.h"

#include <gmock/gmock.h>
#include <signal.h>
#include <sys/socket.h>

#include <thread>

#include "result_matchers.h"

namespace chronos::engine {
namespace {

using control::Message;
using testing::HasSubstr;

/// A channel, and a server process at its other end.
class EngineConnection : public testing::Test {
protected:
    EngineConnection() {
        signal(SIGPIPE, SIG_IGN);  // as in an engine
        int ends[2];
        EXPECT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        channel_ = std::make_unique<Channel>(os::FileDescriptor(ends[0]),
                                             os::FileDescriptor(dup(ends[0])));
        server_ = os::FileDescriptor(ends[1]);
    }
    /// What the server sends before it is asked: it lies in the socket until then.
    void answer(const std::string& text) {
        ASSERT_EQ(write(server_.get(), text.data(), text.size()),
                  static_cast<ssize_t>(text.size()));
    }
    std::string asked() {
        std::string text(65536, '\0');
        const ssize_t count = read(server_.get(), text.data(), text.size());
        text.resize(count < 0 ? 0 : static_cast<std::size_t>(count));
        return text;
    }
    Result<db::Rows> query(const std::vector<std::string>& parameters = {}) {
        return ControlConnection(*channel_, cancel_).query("SELECT $1", parameters);
    }

    Cancellation cancel_;
    std::unique_ptr<Channel> channel_;
    os::FileDescriptor server_;
};

TEST_F(EngineConnection, AsksAndReadsRowsAsDocumented) {
    answer("rows id=1 columns=3 count=2\nrow 1=a 3=%0A\nrow 2=\n");
    const auto rows = query({"x y", ""});
    ASSERT_OK(rows);
    EXPECT_EQ(*rows, (db::Rows{{"a", std::nullopt, "\n"}, {std::nullopt, "", std::nullopt}}));
    EXPECT_EQ(asked(), "query id=1 sql=SELECT%20%241 p1=x%20y p2=\n");
}

TEST_F(EngineConnection, NoRowsAreAnAnswer) {
    answer("rows id=1 columns=0 count=0\n");
    const auto rows = query();
    ASSERT_OK(rows);
    EXPECT_TRUE(rows->empty());
}

TEST_F(EngineConnection, SqlErrorCarriesItsState) {
    answer("query-failed id=1 sqlstate=55000 message=recovery%20is%20in%20progress\n");
    const auto rows = query();
    EXPECT_ERROR(ErrorKind::db_query, rows);
    EXPECT_THAT(rows.error().message(), HasSubstr("recovery is in progress (SQLSTATE 55000)"));
}

TEST_F(EngineConnection, ServerThatBreaksTheProtocolIsAnErrorAndNoCrash) {
    for (const char* text :
         {"rows id=2 columns=1 count=0\n", "rows id=1\n", "rows id=1 columns=99999 count=1\n",
          "rows id=1 columns=1 count=1\nrows id=1 columns=1 count=0\n", "\x01\n", "row 1=a\n",
          "rows id=1 columns=1 count=99999999999999999999\n"}) {
        SCOPED_TRACE(text);
        answer(text);
        EXPECT_ERROR(ErrorKind::protocol, query());
        // What the broken answer left behind must not answer the next question.
        int ends[2];
        ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        channel_ = std::make_unique<Channel>(os::FileDescriptor(ends[0]),
                                             os::FileDescriptor(dup(ends[0])));
        server_ = os::FileDescriptor(ends[1]);
    }
}

TEST_F(EngineConnection, ColumnNamesThatAreNoNumbersAreIgnored) {
    answer("rows id=1 columns=1 count=1\nrow a-b=x 99999999999999999999999=y 0=z 1=v\n");
    const auto rows = query();
    ASSERT_OK(rows);
    EXPECT_EQ(*rows, (db::Rows{{"v"}}));
}

TEST_F(EngineConnection, ServerThatIsGoneEndsTheSession) {
    server_.reset();
    EXPECT_ERROR(ErrorKind::db_connect, query());
}

TEST_F(EngineConnection, RequestToStopEndsTheWait) {
    std::thread stopper([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        cancel_.request();
    });
    const auto start = std::chrono::steady_clock::now();
    EXPECT_ERROR(ErrorKind::cancelled, query());
    EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(2));
    stopper.join();
}

TEST_F(EngineConnection, StatementThatIsTooLongIsNotSent) {
    EXPECT_ERROR(ErrorKind::db_query, query({std::string(control::kLineSizeMax, 'x')}));
}

}  // namespace
}  // namespace chronos::engine

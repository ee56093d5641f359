#include "chronos/db/connection.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <thread>

#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::db {
namespace {

using testing::HasSubstr;

TEST(Connect, NamesTheSocketWhenThereIsNoServer) {
    const Cancellation cancel;
    ConnectOptions options;
    options.host = "/nonexistent/socket";
    options.port = 5999;
    options.query_timeout = std::chrono::minutes(1);
    const auto connection = connect(options, cancel);
    ASSERT_FALSE(static_cast<bool>(connection));
    EXPECT_EQ(connection.error().kind(), ErrorKind::db_connect);
    EXPECT_NE(connection.error().message().find("/nonexistent/socket"), std::string::npos);
    EXPECT_THAT(connection.error().hint(), HasSubstr("Is the server running"));
}

/// Answers one client with `answer` and leaves.
class Answering {
public:
    explicit Answering(std::string answer) : socket_(::socket(AF_UNIX, SOCK_STREAM, 0)) {
        options_.host = directory_.path();
        options_.port = 5999;
        options_.query_timeout = std::chrono::minutes(1);
        sockaddr_un address = {};
        address.sun_family = AF_UNIX;
        const std::string path = options_.host + "/.s.PGSQL.5999";
        path.copy(address.sun_path, sizeof address.sun_path - 1);
        EXPECT_EQ(bind(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
        EXPECT_EQ(listen(socket_, 1), 0);
        thread_ = std::thread([this, text = std::move(answer)] {
            const int client = accept(socket_, nullptr, nullptr);
            std::array<char, 4096> startup{};
            if (read(client, startup.data(), startup.size()) > 0 &&
                write(client, text.data(), text.size()) < 0)
                ADD_FAILURE() << "nothing answered";
            // Until the client has left.
            while (read(client, startup.data(), startup.size()) > 0) continue;
            close(client);
        });
    }
    ~Answering() {
        thread_.join();
        close(socket_);
    }

    std::string hint() {
        const Cancellation cancel;
        const auto connection = connect(options_, cancel);
        EXPECT_FALSE(static_cast<bool>(connection));
        return connection ? "" : connection.error().hint();
    }

private:
    test::TemporaryDirectory directory_;
    ConnectOptions options_;
    int socket_;
    std::thread thread_;
};

std::string authentication(char kind) {
    return {'R', 0, 0, 0, 8, 0, 0, 0, kind};
}

TEST(Connect, AServerThatWantsAPasswordIsNotTakenForAbsent) {
    EXPECT_THAT(Answering(authentication(3)).hint(), HasSubstr("wants a password"));
}

TEST(Connect, AServerThatLibpqRefusesIsNotTakenForAbsent) {
    setenv("PGCHANNELBINDING", "require", 1);
    EXPECT_THAT(Answering(authentication(0)).hint(), HasSubstr("does not go on"));
    unsetenv("PGCHANNELBINDING");
}

}  // namespace
}  // namespace chronos::db

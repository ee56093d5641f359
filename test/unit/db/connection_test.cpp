#include "chronos/db/connection.h"

#include <gtest/gtest.h>

#include "result_matchers.h"

namespace chronos::db {
namespace {

TEST(Connect, NamesTheSocketWhenThereIsNoServer) {
    const Cancellation cancel;
    ConnectOptions options;
    options.host = "/nonexistent/socket";
    options.port = 5999;
    const auto connection = connect(options, cancel);
    ASSERT_FALSE(static_cast<bool>(connection));
    EXPECT_EQ(connection.error().kind(), ErrorKind::db_connect);
    EXPECT_NE(connection.error().message().find("/nonexistent/socket"), std::string::npos);
    EXPECT_NE(connection.error().hint(), "");
}

}  // namespace
}  // namespace chronos::db

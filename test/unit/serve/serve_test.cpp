#include <gmock/gmock.h>

#include "result_matchers.h"
#include "serve/dashboard.h"
#include "serve/http_server.h"
#include "serve/service.h"

namespace chronos::serve {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::Pair;

TEST(ListenAddress, HasAHostAndAPort) {
    const auto parse = [](const char* text) {
        const auto parsed = parse_listen_address(text);
        return parsed ? *parsed : std::pair<std::string, std::string>("error", "error");
    };
    EXPECT_THAT(parse("localhost:8080"), Pair("localhost", "8080"));
    EXPECT_THAT(parse("[::1]:80"), Pair("::1", "80"));
    EXPECT_THAT(parse(":8080"), Pair("", "8080"));
    EXPECT_THAT(parse("*:8080"), Pair("", "8080"));
    EXPECT_THAT(parse("8080"), Pair("", "8080"));
    for (const char* bad : {"", "localhost", "localhost:", "::1", "a:65536", "a:-1", "a:80x"})
        EXPECT_ERROR(ErrorKind::option_invalid_value, parse_listen_address(bad));
}

// A bare port listens on every address: that must not pass for a local one.
TEST(ListenAddress, IsLocalOnlyIfNobodyElseReachesIt) {
    for (const char* local : {"localhost", "127.0.0.1", "127.9.9.9", "::1"})
        EXPECT_TRUE(is_local_address(local)) << local;
    for (const char* open :
         {"", "*", "0.0.0.0", "::", "10.0.0.1", "127.evil.example", "1270.0.0.1"})
        EXPECT_FALSE(is_local_address(open)) << open;
}

TEST(Secret, IsEqualOnlyToItself) {
    EXPECT_TRUE(same_secret("abc", "abc"));
    for (const char* other : {"", "ab", "abd", "abcd", "abcabc"})
        EXPECT_FALSE(same_secret(other, "abc")) << other;
    EXPECT_FALSE(same_secret("abc", ""));
}

TEST(Dashboard, NeedsNothingFromElsewhereAndParsesNoMarkup) {
    const std::string page(dashboard_html());
    EXPECT_THAT(page, HasSubstr("<script nonce=\"@NONCE@\">"));
    for (const char* never : {"innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval(",
                              "src=\"http", "href=\"http", "@import", " style=\"", " onclick="})
        EXPECT_THAT(page, Not(HasSubstr(never)));
}

}  // namespace
}  // namespace chronos::serve

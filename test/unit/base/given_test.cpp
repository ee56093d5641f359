#include "chronos/base/given.h"

#include <gtest/gtest.h>

#include <chrono>
#include <cstdint>

namespace chronos {
namespace {

struct Request {
    Given<std::uint64_t> size;
    Given<std::chrono::milliseconds> timeout;
};

TEST(Given, IsTheValueOnceThatIsGiven) {
    Request request{.size = 5, .timeout = std::chrono::seconds(2)};
    EXPECT_EQ(request.size, 5u);
    EXPECT_EQ(request.timeout->count(), 2000);
    request.size = 0;
    EXPECT_EQ(*request.size, 0u);
}

TEST(Given, IsNoValueBefore) {
    const Request request;
    EXPECT_THROW(static_cast<void>(*request.size), std::logic_error);
    EXPECT_THROW(static_cast<void>(request.timeout->count()), std::logic_error);
    EXPECT_THROW(static_cast<void>(static_cast<std::uint64_t>(request.size)), std::logic_error);
}

}  // namespace
}  // namespace chronos

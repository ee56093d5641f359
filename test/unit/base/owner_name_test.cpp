#include "chronos/base/owner_name.h"

#include <gtest/gtest.h>

namespace chronos {
namespace {

TEST(OwnerName, WithTheSameTextIsTheSame) {
    const OwnerName a = std::string("postgres");
    const OwnerName b = "postgres";
    EXPECT_EQ(a, b);
    EXPECT_EQ(&*a, &*b) << "the text is shared";
    EXPECT_NE(a, OwnerName("root"));
}

TEST(OwnerName, MayBeNone) {
    const OwnerName none;
    EXPECT_FALSE(none.has_value());
    EXPECT_EQ(none, OwnerName(std::nullopt));
    EXPECT_NE(none, OwnerName(""));
}

}  // namespace
}  // namespace chronos

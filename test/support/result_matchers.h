#pragma once

#include <gtest/gtest.h>

#include "chronos/base/result.h"

/// The Result is a value; prints the error if not.
#define ASSERT_OK(...)                                                                     \
    do {                                                                                   \
        const auto& chronos_tested_ = (__VA_ARGS__);                                       \
        ASSERT_TRUE(static_cast<bool>(chronos_tested_)) << chronos_tested_.error().text(); \
    } while (false)

#define EXPECT_OK(...)                                                                     \
    do {                                                                                   \
        const auto& chronos_tested_ = (__VA_ARGS__);                                       \
        EXPECT_TRUE(static_cast<bool>(chronos_tested_)) << chronos_tested_.error().text(); \
    } while (false)

/// The Result is an error of this kind.
#define EXPECT_ERROR(expected_kind, ...)                                \
    do {                                                                \
        const auto& chronos_tested_ = (__VA_ARGS__);                    \
        ASSERT_FALSE(static_cast<bool>(chronos_tested_)) << "no error"; \
        EXPECT_EQ(chronos_tested_.error().kind(), expected_kind)        \
            << chronos_tested_.error().text();                          \
    } while (false)

#include "chronos/base/activity.h"

#include <gtest/gtest.h>

#include <thread>

namespace chronos {
namespace {

TEST(Activity, WorkIsNotedFromAnyThread) {
    const auto before = Activity::count();
    Activity::note();
    std::thread([] { Activity::note(); }).join();
    EXPECT_EQ(Activity::count(), before + 2);
}

// Or a lease that is renewed, and a session that is looked at, would hide that the copy hangs.
TEST(Activity, WhatAQuietThreadDoesIsNoProof) {
    const auto before = Activity::count();
    {
        const Activity::Quiet quiet;
        Activity::note();
        const Activity::LongCall call;
        EXPECT_FALSE(Activity::in_long_call());
        std::thread([] { Activity::note(); }).join();
    }
    EXPECT_EQ(Activity::count(), before + 1);
    EXPECT_FALSE(Activity::in_long_call());
}

TEST(Activity, ALongCallIsKnownUntilTheLastEnds) {
    {
        const Activity::LongCall first;
        { const Activity::LongCall second; }
        EXPECT_TRUE(Activity::in_long_call());
    }
    EXPECT_FALSE(Activity::in_long_call());
}

}  // namespace
}  // namespace chronos

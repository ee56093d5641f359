#include "ops/expire/phases.h"

#include <gmock/gmock.h>

#include <type_traits>

#include "fault_storage.h"
#include "memory_storage.h"
#include "result_matchers.h"

namespace chronos::ops::expire {
namespace {

template <auto Step, class Value>
constexpr bool kTakes = std::is_invocable_v<decltype(Step), const Scope&, Value>;

static_assert(kTakes<decide, Loaded>);
static_assert(kTakes<unlist, Decided>);
static_assert(kTakes<remove_data, Unlisted>);
static_assert(kTakes<finish, Removed>);
// Data that something still lists; nothing decided; done twice.
static_assert(!kTakes<remove_data, Decided> && !kTakes<remove_data, Loaded>);
static_assert(!kTakes<unlist, Loaded> && !kTakes<unlist, Unlisted>);
// What a step has taken is not there for another one: it can be moved only, and not lent.
static_assert(!kTakes<unlist, Decided&> && !kTakes<remove_data, Unlisted&>);
static_assert(!std::is_copy_constructible_v<Loaded> && !std::is_copy_constructible_v<Unlisted>);

// Of lists alone: what goes is decided before anything is written.
TEST(Phases, WhatIsDecidedIsOffTheListAndStillInTheRepository) {
    test::MemoryStorage memory;
    const auto faults = std::make_shared<test::FaultStorage>(memory);
    ExpireRequest request;
    request.stanza = "main";
    ExpireRepository target;
    target.repository.storage = faults;
    target.retention.full = 2;
    std::vector<Decision> decisions;
    Cancellation cancel;
    Loaded loaded;
    for (const char* label : {"20261118-080000F", "20261119-080000F", "20261120-080000F"}) {
        repo::BackupEntry entry;
        entry.label = label;
        entry.type = repo::BackupType::full;
        loaded.stanza.info.backups.push_back(std::move(entry));
    }
    const auto decided = decide({request, target, decisions, cancel}, std::move(loaded));
    ASSERT_OK(decided);
    EXPECT_THAT(decided->verdict.expired, testing::ElementsAre("20261118-080000F"));
    EXPECT_EQ(decided->stanza.info.backups.size(), 2u);
    EXPECT_TRUE(decided->stanza.info_changed);
    EXPECT_EQ(decisions.size(), 3u);
    EXPECT_THAT(faults->changes(), testing::ElementsAre());
}

}  // namespace
}  // namespace chronos::ops::expire

#include "ops/backup/phases.h"

#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <type_traits>

#include "chronos/pgdata/control_file.h"
#include "control_vector.h"
#include "fake_connection.h"
#include "fault_storage.h"
#include "memory_storage.h"
#include "plain_request.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::backup {
namespace {

using testing::ElementsAre;

template <auto Step, class Value>
constexpr bool kTakes = std::is_invocable_v<decltype(Step), const Scope&, Value>;

static_assert(kTakes<choose, Opened>);
static_assert(kTakes<start, Chosen>);
static_assert(kTakes<plan, Started>);
static_assert(kTakes<copy, Planned>);
static_assert(kTakes<seal, Copied>);
static_assert(kTakes<publish, Sealed>);
// Published without the barrier, or without the WAL; stopped before it was copied; copied twice.
static_assert(!kTakes<publish, Planned> && !kTakes<publish, Copied>);
static_assert(!kTakes<seal, Started> && !kTakes<seal, Planned>);
static_assert(!kTakes<copy, Started> && !kTakes<copy, Copied>);
// What a step has taken is not there for another one: it can be moved only, and not lent.
static_assert(!kTakes<copy, Planned&> && !kTakes<publish, Sealed&>);
static_assert(!std::is_copy_constructible_v<Opened> && !std::is_copy_constructible_v<Planned> &&
              !std::is_copy_constructible_v<Sealed>);

class Phases : public testing::Test {
protected:
    Phases() : faults_(std::make_shared<test::FaultStorage>(memory_)) {
        request_.repository.storage = faults_;
        request_.lock_path = locks_.path();
        server_.on("SELECT 1", {{"1"}});
        server_.on("pg_try_advisory_lock", {{"true"}});
        server_.on("pg_advisory_unlock", {{"true"}});
        server_.on("pg_locks", {{"7", "chronos", "true"}});
        server_.on("pg_postmaster_start_time", {{"7710195861716093438-1"}});
    }

    /// With files of that name in the cluster, of which those of `gone` have been dropped since.
    Planned planned(const std::vector<std::string>& names, const std::string& gone) {
        Planned planned;
        planned.work.request = request_;
        planned.work.cluster.pgdata = data_.path();
        planned.manifest.label = "20261120-075745F";
        std::string control = pgdata::control_15();
        control.resize(pgdata::kControlFileSize, '\0');
        for (const std::string& name : names) {
            repo::ManifestFile file;
            file.name = "pg_data/" + name;
            file.size = file.size_original = name == "global/pg_control" ? control.size() : 4;
            planned.manifest.files.push_back(std::move(file));
            if (name == gone) continue;
            const std::filesystem::path path = data_ / name;
            std::filesystem::create_directories(path.parent_path());
            std::ofstream(path, std::ios::binary)
                << (name == "global/pg_control" ? control : "file");
        }
        planned.jobs =
            arrange(plan_files(nullptr, planned.manifest), planned.manifest, std::nullopt);
        planned.gate = std::make_unique<ClockGate>(&server_, db::ServerTime{0, 0});
        return planned;
    }

    test::TemporaryDirectory data_;
    test::TemporaryDirectory locks_;
    test::MemoryStorage memory_;
    std::shared_ptr<test::FaultStorage> faults_;
    test::FakeConnection server_;
    BackupRequest request_ = plain_request();
    ProgressReceiver progress_;
    Cancellation cancel_;
    Stages stages_;
    Waits waits_;
    Scope scope_{&server_, progress_, cancel_, {}, stages_, waits_};
};

TEST_F(Phases, NobodyIsHeldUpByABackupThatCouldNotBeOpened) {
    EXPECT_FALSE(open(scope_, request_)) << "there is no stanza";
    EXPECT_TRUE(server_.was_asked("pg_advisory_unlock"));
    EXPECT_OK(repo::Lock::acquire(
        {request_.lock_path, "main", repo::LockType::backup, 1, request_.exec_id}));
}

TEST_F(Phases, WhatIsCopiedIsDurableAndMentionsNothingThatVanished) {
    const auto copied =
        copy(scope_, planned({"PG_VERSION", "base/1/2", "global/pg_control"}, "base/1/2"));
    ASSERT_OK(copied);
    const std::string directory = "backup/main/20261120-075745F";
    EXPECT_THAT(faults_->changes(),
                ElementsAre("create " + directory + "/pg_data/PG_VERSION",
                            "finish " + directory + "/pg_data/PG_VERSION",
                            "create " + directory + "/pg_data/global/pg_control",
                            "finish " + directory + "/pg_data/global/pg_control",
                            "sync_tree " + directory));
    ASSERT_EQ(copied->manifest.files.size(), 2u);
    for (const repo::ManifestFile& file : copied->manifest.files)
        EXPECT_GT(file.repo_size, 0u) << file.name.view();
    EXPECT_EQ(copied->bytes, 2 * 4 + pgdata::kControlFileSize) << "as the progress counts them";
}

TEST_F(Phases, NothingIsPublishedWhereTheStanzaIsGone) {
    Sealed sealed;
    sealed.work.request = request_;
    sealed.manifest.label = "20261120-075745F";
    EXPECT_FALSE(publish(scope_, std::move(sealed)));
    EXPECT_THAT(faults_->changes(), ElementsAre());
}

}  // namespace
}  // namespace chronos::ops::backup

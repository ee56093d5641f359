#include "ops/backup/plan.h"

#include <gmock/gmock.h>

#include "result_matchers.h"

namespace chronos::ops::backup {
namespace {

using testing::ElementsAre;

constexpr const char* kPrior = "20261120-075745F";

pgdata::ClusterEntry entry(std::string name, std::uint64_t size, UnixTime time) {
    pgdata::ClusterEntry result;
    result.name = name;
    result.size = size;
    result.timestamp = time;
    result.mode = 0600;
    result.user = "postgres";
    result.group = "postgres";
    return result;
}

pgdata::ClusterList cluster(std::vector<pgdata::ClusterEntry> files) {
    pgdata::ClusterList list;
    list.files = std::move(files);
    pgdata::ClusterEntry root = entry("pg_data", 0, 0);
    root.mode = 0750;
    list.paths = {root};
    return list;
}

repo::Manifest described(const pgdata::ClusterList& list) {
    repo::Manifest manifest;
    manifest.options.checksum_page = true;
    EXPECT_OK(describe_cluster(list, "/srv/data", {}, manifest));
    return manifest;
}

/// A prior backup that stored these files as they are in `list`.
repo::Manifest stored(const pgdata::ClusterList& list) {
    repo::Manifest manifest = described(list);
    manifest.label = kPrior;
    manifest.references = {kPrior};
    for (repo::ManifestFile& file : manifest.files) {
        if (file.size == 0) continue;
        file.checksum = std::string(40, 'a');
        file.repo_checksum = std::string(40, 'b');
        file.repo_size = file.size / 2;
    }
    return manifest;
}

TEST(DescribeCluster, TakesDefaultsFromTheDataDirectory) {
    const repo::Manifest manifest = described(cluster({entry("pg_data/PG_VERSION", 3, 100)}));
    EXPECT_EQ(manifest.defaults.path_mode, 0750u);
    EXPECT_EQ(manifest.defaults.file_mode, 0640u);  // no execute bit
    EXPECT_EQ(manifest.defaults.user, "postgres");
    ASSERT_EQ(manifest.targets.size(), 1u);
    EXPECT_EQ(manifest.targets[0].path, "/srv/data");
    EXPECT_FALSE(manifest.targets[0].is_link);
}

TEST(DescribeCluster, SplitsFileLinksAndNamesTablespaces) {
    pgdata::ClusterList list = cluster({});
    list.links = {{"pg_data/pg_hba.conf", "/etc/pg/pg_hba.conf", true, 0, "u", "g"},
                  {"pg_data/pg_stat", "../ext/pg_stat", false, 0, "u", "g"},
                  {"pg_data/pg_tblspc/16387", "/srv/ts1", false, 16387, "u", "g"}};
    repo::Manifest manifest;
    ASSERT_OK(describe_cluster(list, "/srv/data", {{16387, "ts1"}}, manifest));
    ASSERT_EQ(manifest.targets.size(), 4u);
    EXPECT_EQ(manifest.targets[1].name, "pg_data/pg_hba.conf");
    EXPECT_EQ(manifest.targets[1].path, "/etc/pg");
    EXPECT_EQ(manifest.targets[1].file, "pg_hba.conf");
    EXPECT_EQ(manifest.targets[2].path, "../ext/pg_stat");
    EXPECT_EQ(manifest.targets[3].name, "pg_tblspc/16387");
    EXPECT_EQ(manifest.targets[3].tablespace_name, "ts1");
    EXPECT_EQ(manifest.links[2].name, "pg_data/pg_tblspc/16387");
}

TEST(DescribeCluster, ATablespaceTheCatalogDoesNotKnowIsAnError) {
    pgdata::ClusterList list = cluster({});
    list.links = {{"pg_data/pg_tblspc/16387", "/srv/ts1", false, 16387, "u", "g"}};
    repo::Manifest manifest;
    EXPECT_ERROR(ErrorKind::internal, describe_cluster(list, "/srv/data", {}, manifest));
}

TEST(PlanFiles, AFullBackupCopiesAllLargestFirst) {
    const auto list = cluster({entry("pg_data/base/5/1", 8192, 1), entry("pg_data/base/5/2", 0, 1),
                               entry("pg_data/base/5/3", 1 << 20, 1)});
    repo::Manifest manifest = described(list);
    std::vector<std::uint64_t> sizes;
    for (const PlannedFile& planned :
         arrange(plan_files(nullptr, manifest), manifest, std::nullopt).files) {
        EXPECT_EQ(planned.action, Action::copy);
        sizes.push_back(planned.size);
    }
    EXPECT_THAT(sizes, ElementsAre(1 << 20, 8192, 0));
}

struct Case {
    const char* name;
    std::uint64_t prior_size;
    UnixTime prior_time;
    std::uint64_t size;
    UnixTime time;
    bool delta;
    const char* expected;  // "reference", "copy" or "compare"
};

class PlanCase : public testing::TestWithParam<Case> {};

TEST_P(PlanCase, IsDecidedBySizeAndTime) {
    const Case& c = GetParam();
    const auto before = cluster({entry("pg_data/base/5/1", c.prior_size, c.prior_time)});
    const auto now = cluster({entry("pg_data/base/5/1", c.size, c.time)});
    const repo::Manifest prior = stored(before);
    repo::Manifest manifest = described(now);
    manifest.options.delta = c.delta;
    const auto plan = plan_files(&prior, manifest);
    if (std::string_view(c.expected) == "reference") {
        EXPECT_TRUE(plan.empty());
        EXPECT_EQ(manifest.files[0].reference, kPrior);
        EXPECT_EQ(manifest.files[0].checksum, prior.files[0].checksum);
        EXPECT_EQ(manifest.files[0].repo_size, prior.files[0].repo_size);
        EXPECT_EQ(manifest.files[0].timestamp, c.time);
        return;
    }
    ASSERT_EQ(plan.size(), 1u);
    const bool compare = std::string_view(c.expected) == "compare";
    EXPECT_EQ(plan[0].action, compare ? Action::compare : Action::copy);
    EXPECT_EQ(manifest.files[0].reference, "");
}

INSTANTIATE_TEST_SUITE_P(
    Rules, PlanCase,
    testing::Values(Case{"same", 8192, 10, 8192, 10, false, "reference"},
                    Case{"same_delta", 8192, 10, 8192, 10, true, "compare"},
                    Case{"empty", 0, 10, 0, 20, true, "reference"},
                    Case{"small_touched", 8192, 10, 8192, 20, false, "compare"},
                    Case{"large_touched", 1 << 30, 10, 1 << 30, 20, false, "copy"},
                    Case{"large_touched_delta", 1 << 30, 10, 1 << 30, 20, true, "compare"},
                    Case{"grown", 8192, 10, 16384, 20, false, "copy"},
                    Case{"grown_delta", 8192, 10, 16384, 20, true, "copy"}),
    [](const auto& tested) { return std::string(tested.param.name); });

TEST(PlanFiles, AReferenceNamesTheBackupThatStoresTheFile) {
    const auto list = cluster({entry("pg_data/base/5/1", 8192, 10)});
    repo::Manifest prior = stored(list);
    prior.label = "20261120-075745F_20261120-075816D";
    prior.files[0].reference = kPrior;
    repo::Manifest manifest = described(list);
    plan_files(&prior, manifest);
    EXPECT_EQ(manifest.files[0].reference, kPrior);
}

TEST(KeepPlanned, LeavesThePriorOnlyWhatIsStillToBeCompared) {
    const auto list = cluster({entry("pg_data/a", 8192, 100), entry("pg_data/b", 8192, 100),
                               entry("pg_data/c", 8192, 100), entry("pg_data/d", 8192, 100)});
    repo::Manifest prior = stored(list);
    auto now = list;
    now.files[2].timestamp = 200;
    repo::Manifest manifest = described(now);
    const auto files = plan_files(&prior, manifest);
    keep_planned(files, manifest, prior);
    ASSERT_EQ(prior.files.size(), 1u);
    EXPECT_EQ(prior.files[0], stored(list).files[2]);
}

TEST(PlanFiles, AnEmptyFileOfABundledPriorIsStoredAgain) {
    const auto list = cluster({entry("pg_data/base/5/1", 0, 10)});
    repo::Manifest prior = stored(list);
    prior.bundle = true;
    repo::Manifest manifest = described(list);
    EXPECT_EQ(plan_files(&prior, manifest).size(), 1u);
    EXPECT_EQ(manifest.files[0].reference, "");
}

TEST(PlanFiles, AnEmptyFileThatThePriorRefersToIsStoredAgain) {
    const auto list = cluster({entry("pg_data/base/5/1", 0, 10)});
    repo::Manifest prior = stored(list);
    prior.files[0].reference = "20261119-075745F";  // which may have bundles
    repo::Manifest manifest = described(list);
    EXPECT_EQ(plan_files(&prior, manifest).size(), 1u);
    EXPECT_EQ(manifest.files[0].reference, "");
}

TEST(PlanFiles, ABackupWithBundlesNeitherStoresNorRefersToEmptyFiles) {
    const auto list = cluster({entry("pg_data/base/5/1", 0, 10)});
    const repo::Manifest prior = stored(list);
    repo::Manifest manifest = described(list);
    manifest.bundle = true;
    EXPECT_TRUE(plan_files(&prior, manifest).empty());
    EXPECT_EQ(manifest.files[0].reference, "");
}

/// "name name | name": the files of the jobs, bundles in parentheses.
std::string jobs_of(const CopyPlan& plan, const repo::Manifest& manifest) {
    std::string text;
    for (const CopyJob& job : plan.jobs) {
        text += job.bundle ? "(" : "";
        for (std::size_t at = job.first; at < job.first + job.count; ++at)
            text += manifest.files[plan.files[at].index].name + (job.bundle ? " " : "");
        text += job.bundle ? ")" : " ";
    }
    return text;
}

TEST(Arrange, LargeFilesComeFirstThenBundlesByAgePgControlLast) {
    const auto list =
        cluster({entry("pg_data/a", 4 << 20, 5), entry("pg_data/b", 8 << 20, 1),
                 entry("pg_data/c", 100, 30), entry("pg_data/d", 100, 20),
                 entry("pg_data/e", 100, 30), entry("pg_data/global/pg_control", 8192, 1),
                 entry("pg_tblspc/9/PG_15/x", 100, 2), entry("pg_tblspc/9/PG_15/y", 9 << 20, 2)});
    repo::Manifest manifest = described(list);
    const CopyPlan plan = arrange(plan_files(nullptr, manifest), manifest, BundleRules{});
    EXPECT_EQ(jobs_of(plan, manifest),
              "pg_tblspc/9/PG_15/y pg_data/b pg_data/a (pg_data/d pg_data/e pg_data/c )"
              "(pg_tblspc/9/PG_15/x )(pg_data/global/pg_control )");
}

TEST(Arrange, ABundleIsFullWhenItsFilesReachTheSize) {
    const auto list =
        cluster({entry("pg_data/1", 600, 1), entry("pg_data/2", 600, 2), entry("pg_data/3", 600, 3),
                 entry("pg_data/4", 1001, 4), entry("pg_data/5", 1000, 5)});
    repo::Manifest manifest = described(list);
    const CopyPlan plan =
        arrange(plan_files(nullptr, manifest), manifest, BundleRules{.size = 1200, .limit = 1000});
    EXPECT_EQ(jobs_of(plan, manifest), "pg_data/4 (pg_data/1 pg_data/2 )(pg_data/3 pg_data/5 )");
}

TEST(Arrange, WithoutBundlesEveryFileIsAJob) {
    const auto list = cluster({entry("pg_data/1", 600, 1), entry("pg_data/2", 700, 2)});
    repo::Manifest manifest = described(list);
    EXPECT_EQ(jobs_of(arrange(plan_files(nullptr, manifest), manifest, std::nullopt), manifest),
              "pg_data/2 pg_data/1 ");
}

TEST(HoldNewFiles, HoldsAJobThatHasOne) {
    const auto list = cluster({entry("pg_data/1", 5000, 99), entry("pg_data/2", 6000, 100),
                               entry("pg_data/3", 7000, 200), entry("pg_data/4", 100, 10),
                               entry("pg_data/5", 100, 20), entry("pg_data/6", 100, 100)});
    repo::Manifest manifest = described(list);
    CopyPlan plan =
        arrange(plan_files(nullptr, manifest), manifest, BundleRules{.size = 200, .limit = 1000});
    hold_new_files(plan, manifest, 100);
    std::string held;
    for (const CopyJob& job : plan.jobs) held += job.held ? "held " : "free ";
    EXPECT_EQ(jobs_of(plan, manifest),
              "pg_data/3 pg_data/2 pg_data/1 (pg_data/4 pg_data/5 )(pg_data/6 )");
    EXPECT_EQ(held, "held held free free held ");
}

TEST(ReasonForDelta, IsAFileFromTheFuture) {
    const auto list = cluster({entry("pg_data/x", 1, 1000)});
    const repo::Manifest manifest = described(list);
    EXPECT_FALSE(reason_for_delta(manifest, nullptr, 1000).has_value());
    EXPECT_TRUE(reason_for_delta(manifest, nullptr, 999).has_value());
}

TEST(ReasonForDelta, IsATimeOrASizeThatContradictsThePrior) {
    const repo::Manifest prior = stored(cluster({entry("pg_data/x", 8192, 1000)}));
    const auto reason = [&](std::uint64_t size, UnixTime time) {
        return reason_for_delta(described(cluster({entry("pg_data/x", size, time)})), &prior, 5000);
    };
    EXPECT_FALSE(reason(8192, 1000).has_value());
    EXPECT_FALSE(reason(16384, 1001).has_value());
    EXPECT_TRUE(reason(8192, 999).has_value());
    EXPECT_TRUE(reason(16384, 1000).has_value());
}

}  // namespace
}  // namespace chronos::ops::backup

#include <unistd.h>

#include <filesystem>
#include <limits>
#include <random>
#include <set>

#include "ops/restore/mapping.h"
#include "ops/restore/ownership.h"
#include "result_matchers.h"
#include "temporary_directory.h"

namespace chronos::ops::restore {
namespace {

repo::ManifestFile file_of(const std::string& name) {
    repo::ManifestFile file;
    file.name = SharedText(name);
    return file;
}

/// A cluster with a tablespace, a linked directory and a linked file.
repo::Manifest good_manifest() {
    repo::Manifest manifest;
    manifest.label = "20261120-075745F";
    manifest.pg_version = "15";
    manifest.catalog_version = 202209061;
    manifest.targets = {{"pg_data", false, "/pg", "", 0, ""},
                        {"pg_data/pg_hba.conf", true, "/etc/pg", "pg_hba.conf", 0, ""},
                        {"pg_data/pg_wal", true, "../wal", "", 0, ""},
                        {"pg_tblspc/16384", true, "/ts", "", 16384, "ts"}};
    manifest.links = {{"pg_data/pg_hba.conf", "/etc/pg/pg_hba.conf", {}, {}},
                      {"pg_data/pg_tblspc/16384", "/ts", {}, {}},
                      {"pg_data/pg_wal", "../wal", {}, {}}};
    for (const char* name :
         {"pg_data", "pg_data/base", "pg_data/base/1", "pg_data/pg_wal", "pg_data/pg_tblspc",
          "pg_tblspc", "pg_tblspc/16384", "pg_tblspc/16384/PG_15_202209061",
          "pg_tblspc/16384/PG_15_202209061/1"})
        manifest.paths.push_back({name, 0700, {}, {}});
    for (const char* name : {"pg_data/PG_VERSION", "pg_data/base/1/1259", "pg_data/pg_hba.conf",
                             "pg_data/pg_wal/x", "pg_tblspc/16384/PG_15_202209061/1/2"})
        manifest.files.push_back(file_of(name));
    return manifest;
}

TEST(Places, WhatBackupsListIsAccepted) {
    EXPECT_OK(repo::check_manifest_places(good_manifest()));
}

TEST(Places, NamesThatLeadElsewhereAreRefused) {
    for (const std::string& name :
         std::vector<std::string>{"pg_data/../etc/passwd",
                                  "/etc/passwd",
                                  "pg_data//x",
                                  "pg_data/",
                                  "pg_data/./x",
                                  "etc/passwd",
                                  "",
                                  "..",
                                  "pg_data",
                                  "pg_tblspc/16384/x",
                                  "pg_tblspc/16384",
                                  "pg_tblspc/16384/PG_15_202209061",
                                  "pg_tblspc/16384/PG_15_202209061/../../x",
                                  "pg_tblspc/16384/PG_14_202107181/1",
                                  "pg_tblspc/16384/PG_15_2022090611/1",
                                  "pg_tblspc/1/PG_15_202209061/1",
                                  "pg_tblspc/016384/PG_15_202209061/1",
                                  "pg_tblspc/../x",
                                  "pg_tblspc//PG_15_202209061/1",
                                  "pg_data/base",
                                  "pg_data/base/1/1259",
                                  "pg_data/base/" + std::string(256, 'x')}) {
        repo::Manifest manifest = good_manifest();
        manifest.files.push_back(file_of(name));
        EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
    }
    for (const char* name : {"pg_data/..", "/etc", "pg_tblspc/16384/x", "pg_tblspc/99", "",
                             "pg_data/base", "pg_tblspc/16384/PG_15_202209061/.."}) {
        repo::Manifest manifest = good_manifest();
        manifest.paths.push_back({name, 0700, {}, {}});
        EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
    }
}

// What cannot be made would be found out by the copy, after the directory was emptied.
TEST(Places, EverythingIsInADirectoryThatIsMadeBeforeIt) {
    for (const char* name : {"pg_data/PG_VERSION/x", "pg_data/no/x", "pg_data/base/2/1259",
                             "pg_tblspc/16384/PG_15_202209061/2/1"}) {
        repo::Manifest manifest = good_manifest();
        manifest.files.push_back(file_of(name));
        SCOPED_TRACE(name);
        EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
    }
    repo::Manifest manifest = good_manifest();
    manifest.paths.push_back({"pg_data/no/x", 0700, {}, {}});
    EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
    manifest = good_manifest();
    manifest.targets[1].name = manifest.links[0].name = "pg_data/no/pg_hba.conf";
    EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
}

TEST(Places, SizesAddUpToWhatAFileSystemCanHold) {
    repo::Manifest manifest = good_manifest();
    manifest.files[0].size = std::numeric_limits<std::int64_t>::max();
    EXPECT_OK(repo::check_manifest_places(manifest));
    manifest.files[1].size = 1;
    EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
    manifest.files[0].size = std::numeric_limits<std::uint64_t>::max();
    EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
}

TEST(Places, LinksLeadWhereTheirTargetSays) {
    for (const repo::ManifestLink& link :
         {repo::ManifestLink{"pg_data/evil", "/etc", {}, {}},
          repo::ManifestLink{"pg_data/pg_tblspc/7", "/etc", {}, {}},
          repo::ManifestLink{"pg_data/pg_wal", "../wal", {}, {}},
          repo::ManifestLink{"pg_data/../evil", "/etc", {}, {}},
          repo::ManifestLink{"/etc/evil", "/etc", {}, {}}}) {
        repo::Manifest manifest = good_manifest();
        manifest.links.push_back(link);
        EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
    }
    for (std::size_t i = 0; i < 3; ++i) {
        repo::Manifest manifest = good_manifest();
        manifest.links[i].destination = "/etc";
        EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
        manifest = good_manifest();
        manifest.links.erase(manifest.links.begin() + static_cast<std::ptrdiff_t>(i));
        EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
    }
    for (const repo::ManifestTarget& target :
         {repo::ManifestTarget{"pg_data", false, "/other", "", 0, ""},
          repo::ManifestTarget{"pg_tblspc/5", true, "/ts5", "", 6, "x"},
          repo::ManifestTarget{"pg_data/../x", true, "/x", "", 0, ""},
          repo::ManifestTarget{"pg_data/x", false, "/x", "", 0, ""},
          repo::ManifestTarget{"pg_data/x", true, "/x", "..", 0, ""},
          repo::ManifestTarget{"pg_data/x", true, "/x", "a/b", 0, ""}}) {
        repo::Manifest manifest = good_manifest();
        manifest.targets.push_back(target);
        EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
    }
    repo::Manifest manifest = good_manifest();
    manifest.targets[3].path = manifest.links[1].destination = "/ts/../etc";
    EXPECT_ERROR(ErrorKind::format, repo::check_manifest_places(manifest));
}

TEST(Places, NoBitGivesAwayMoreThanTheContent) {
    repo::Manifest manifest = good_manifest();
    manifest.files[0].mode = 04755;
    manifest.paths[0].mode = 03777;
    bound_modes(manifest);
    EXPECT_EQ(manifest.files[0].mode, 0755u);
    EXPECT_EQ(manifest.paths[0].mode, 0777u);
    manifest.paths[0].mode = 0050;
    bound_modes(manifest);
    EXPECT_EQ(manifest.paths[0].mode, 0750u) << "its content has still to be made";
}

// A cluster with files of root's cannot be started, and is no way to make some.
TEST(Places, NothingIsGivenToRoot) {
    const bool is_root = geteuid() == 0;  // nobody else gives files away
    const test::TemporaryDirectory directory;
    ASSERT_EQ(is_root ? chown(directory.path().c_str(), 1234, 2345) : 0, 0);
    repo::Manifest manifest = good_manifest();
    for (const char* user : {"root", "no_such_user_here"}) {
        const repo::OwnerName owner{std::string(user)};
        for (repo::ManifestFile& file : manifest.files) file.user = file.group = owner;
        const Ownership ownership(manifest, directory.path());
        const auto given = ownership.owner_of(owner, repo::OwnerName{});
        ASSERT_EQ(given.has_value(), is_root);
        EXPECT_EQ(given.value_or(Owner{1234, 2345}).user, 1234u) << user;
        EXPECT_EQ(given.value_or(Owner{1234, 2345}).group, 2345u) << user;
        EXPECT_FALSE(ownership.warnings().empty()) << user;
    }
}

// Whatever is accepted ends, by its name alone, below the data directory, and where that goes
// through a link it is one that has a target.
TEST(Places, AcceptedNamesStayBelowTheDestinations) {
    const unsigned seed = std::random_device{}();
    SCOPED_TRACE(seed);
    std::mt19937 random(seed);
    const std::vector<std::string> parts{"pg_data", "pg_tblspc",       "..",  ".", "",  "16384",
                                         "base",    "PG_15_202209061", "etc", "1", "/", "x",
                                         "pg_wal"};
    std::size_t accepted = 0;
    for (int round = 0; round < 20000; ++round) {
        std::string name = random() % 4 == 0 ? parts[random() % parts.size()] : "pg_data";
        for (std::size_t left = random() % 5; left > 0; --left)
            name += "/" + parts[random() % parts.size()];
        repo::Manifest manifest = good_manifest();
        if (random() % 2 == 0)
            manifest.files.push_back(file_of(name));
        else if (random() % 2 == 0)
            manifest.paths.push_back({name, 0700, {}, {}});
        else
            manifest.links.push_back({name, "/" + parts[random() % parts.size()], {}, {}});
        if (!repo::check_manifest_places(manifest)) continue;
        ++accepted;
        const std::string path = path_of(manifest, name);
        const std::string normal = std::filesystem::path(path).lexically_normal().string();
        EXPECT_TRUE(normal == "/pg" || normal.starts_with("/pg/")) << name;
        EXPECT_EQ(normal, path) << name;
    }
    EXPECT_GT(accepted, 100u);
}

}  // namespace
}  // namespace chronos::ops::restore

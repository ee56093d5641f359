// Each kind of damage is found where it is, named, and its consequence told.
#include "chronos/compress/compress.h"
#include "chronos/crypto/hash.h"
#include "chronos/repo/info.h"
#include "verify_fixture.h"

namespace chronos::ops::verify {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

struct Sample {
    std::string fixture, part, pass;
};

void PrintTo(const Sample& sample, std::ostream* out) {
    *out << sample.fixture << "/" << sample.part;
}

class SoundRepository : public testing::TestWithParam<Sample> {};

TEST_P(SoundRepository, HasNoFindings) {
    const test::Fixture fixture(GetParam().fixture);
    VerifyRequest request = request_for(fixture.repository(GetParam().pass, GetParam().part));
    EXPECT_THAT(texts_of(verify(request)), IsEmpty());
    request.full = true;
    const VerifyResult result = verify(request);
    EXPECT_THAT(texts_of(result), IsEmpty());
    const VerifiedRepository& repository = result.repositories.at(0);
    EXPECT_GE(repository.backups.size(), 3u);
    EXPECT_GT(repository.bytes_read, 100'000u);
    for (const VerifiedBackup& backup : repository.backups) {
        EXPECT_EQ(backup.verdict, BackupVerdict::valid) << backup.label;
        EXPECT_EQ(backup.files.valid, backup.files.total);
        EXPECT_GE(backup.files.total, 10u);
    }
}

INSTANTIATE_TEST_SUITE_P(Fixtures, SoundRepository,
                         testing::Values(Sample{"zst-bundle-block", "repo", ""},
                                         Sample{"lz4-aes-tblspc", "repo", "fixture-repo-pass-d"},
                                         Sample{"crafted", "none-block", ""},
                                         Sample{"crafted", "gz-block", ""},
                                         Sample{"crafted", "lz4-block", ""},
                                         Sample{"crafted", "bz2-block", ""},
                                         Sample{"crafted", "zst-block-aes", "pass-zst-block-aes"},
                                         Sample{"crafted", "none-pgbi", ""},
                                         Sample{"crafted", "gz-pgbi-aes", "pass-gz-pgbi-aes"},
                                         Sample{"crafted", "gz-bundle-aes", "pass-gz-bundle-aes"}));

class Damage : public testing::Test {
protected:
    std::string root() const { return fixture_.path(); }
    std::string backup(const std::string& label) const { return root() + "/backup/main/" + label; }
    std::string archive() const { return root() + "/archive/main/15-1/0000000100000000"; }
    std::string segment(const std::string& last_digit) const {
        return find_path(archive(), {"00000001000000000000000" + last_digit + "-"});
    }
    VerifyResult run(std::vector<std::string> sets = {}) const {
        return verify(request_for(fixture_.repository(), std::move(sets)));
    }
    VerifyResult run_full() const {
        VerifyRequest request = request_for(fixture_.repository());
        request.full = true;
        return verify(request);
    }
    static BackupVerdict verdict(const VerifyResult& result, const std::string& label) {
        for (const VerifiedBackup& backup : result.repositories.at(0).backups)
            if (backup.label == label) return backup.verdict;
        throw std::runtime_error("no backup " + label);
    }
    /// The one failure there is has all these parts.
    static void expect_only(const VerifyResult& result, const std::vector<std::string>& parts) {
        EXPECT_EQ(result.failures(), 1u) << testing::PrintToString(texts_of(result));
        for (const std::string& part : parts)
            EXPECT_THAT(texts_of(result), Contains(HasSubstr(part)));
        EXPECT_ERROR(ErrorKind::file_invalid, verify_outcome(result));
    }
    /// Changes a manifest so that its own checksum is right again, and its copy alike.
    void reseal(const std::string& label, const std::function<void(repo::Manifest&)>& change) {
        const auto repository = fixture_.repository();
        auto manifest = repo::load_manifest(repository, "main", label, "");
        ASSERT_OK(manifest);
        change(*manifest);
        ASSERT_OK(
            repo::save_manifest(repository, "main", label, repo::format_manifest(*manifest), ""));
    }
    /// Replaces a segment by what `change` makes of its content, under the name that fits.
    void rewrite_segment(const std::string& digit,
                         const std::function<void(std::string&)>& change) {
        const std::string path = segment(digit);
        io::MemorySink content;
        const auto decompressor = compress::make_decompressor(compress::CompressType::zst,
                                                              compress::Form::normal, content);
        ASSERT_OK(decompressor->write(io::bytes(test::read_file(path))));
        ASSERT_OK(decompressor->finish());
        change(content.content);
        io::MemorySink stored;
        const auto compressor = compress::make_compressor(compress::CompressType::zst, 3,
                                                          compress::Form::normal, stored);
        ASSERT_OK(compressor->write(io::bytes(content.content)));
        ASSERT_OK(compressor->finish());
        fs::remove(path);
        test::write_file(archive() + "/00000001000000000000000" + digit + "-" +
                             crypto::sha1_hex(content.content) + ".zst",
                         stored.content);
    }
    const test::Fixture fixture_{"zst-bundle-block"};
};

TEST_F(Damage, SegmentMissingInTheRangeOfABackup) {
    fs::remove(segment("2"));
    const VerifyResult result = run();
    expect_only(result, {"15-1: 000000010000000000000002", "is missing",
                         "backup " + kFull + " cannot be restored"});
    EXPECT_EQ(verdict(result, kFull), BackupVerdict::invalid);
    EXPECT_EQ(verdict(result, kIncr), BackupVerdict::valid);
}

TEST_F(Damage, SegmentsMissingBehindTheLastBackup) {
    fs::remove(segment("8"));
    expect_only(run(), {"15-1: 000000010000000000000008", "from backup " + kIncr,
                        "cannot go beyond 0/8000000"});
}

TEST_F(Damage, HoleThatRetentionLeavesIsNoFailure) {
    fs::remove(segment("4"));
    fs::remove(segment("6"));
    const VerifyResult result = run();
    EXPECT_EQ(result.failures(), 0u) << testing::PrintToString(texts_of(result));
    EXPECT_THAT(texts_of(result), Contains(AllOf(HasSubstr("note"), HasSubstr("retention"))));
    EXPECT_OK(verify_outcome(result));
}

// Retention removes from the oldest on: what is older and in no backup would have gone first.
TEST_F(Damage, HoleThatRetentionWouldNotLeaveIsAFailure) {
    fs::remove(segment("6"));
    expect_only(run(), {"15-1: 000000010000000000000006", "cannot go beyond 0/6000000"});
}

// Two histories prove that there was WAL between them.
TEST_F(Damage, AllOfATimelineMissingThatAnotherOneCameFrom) {
    const std::string directory = root() + "/archive/main/15-1/";
    test::write_file(directory + "00000002.history", "1\t0/9000100\tpromoted\n");
    test::write_file(directory + "00000003.history",
                     "1\t0/9000100\tpromoted\n2\t0/9000200\tpromoted\n");
    EXPECT_EQ(run().failures(), 0u) << "nothing of timeline 2 but what timeline 3 begins with";
    test::write_file(directory + "00000003.history",
                     "1\t0/9000100\tpromoted\n2\t0/B000200\tpromoted\n");
    expect_only(run(), {"000000020000000000000009 to 00000002000000000000000A are missing (2)"});
}

TEST_F(Damage, ByteOfASegmentFlipped) {
    change_byte(segment("5"), 300);
    expect_only(run(), {"15-1: 0000000100000000/000000010000000000000005-",
                        "backup " + kDiff + " cannot be restored"});
}

TEST_F(Damage, SegmentWithTheContentOfAnother) {
    const std::string path = segment("9");
    std::string renamed = path;
    renamed.replace(renamed.rfind("09-"), 3, "0A-");
    fs::rename(path, renamed);
    const VerifyResult result = run();
    // And segment 9 is missing now.
    EXPECT_EQ(result.failures(), 2u) << testing::PrintToString(texts_of(result));
    EXPECT_THAT(texts_of(result),
                Contains(AllOf(HasSubstr("00000001000000000000000A-"),
                               HasSubstr("WAL segment 000000010000000000000009 under a wrong"))));
}

TEST_F(Damage, SegmentOfAnotherCluster) {
    rewrite_segment("8", [](std::string& content) { content[24] ^= 1; });
    expect_only(run(), {"000000010000000000000008-", "another cluster"});
}

TEST_F(Damage, HalfASegment) {
    rewrite_segment("8", [](std::string& content) { content.resize(content.size() / 2); });
    expect_only(run(), {"000000010000000000000008-", "bytes instead of"});
}

TEST_F(Damage, TwoSegmentsOfOneName) {
    const std::string path = segment("8");
    std::string twin = path;
    twin.replace(twin.find('-', twin.rfind('/')) + 1, 4, "0000");
    fs::copy_file(path, twin);
    expect_only(run(), {"second file of WAL segment 000000010000000000000008"});
}

TEST_F(Damage, ArchiveOfAnUnknownCluster) {
    fs::create_directories(root() + "/archive/main/16-9/0000000100000000");
    fs::copy_file(segment("8"), root() + "/archive/main/16-9/0000000100000000/x");
    expect_only(run(), {"16-9", "not in the archive.info history"});
}

TEST_F(Damage, ByteOfABundleFlipped) {
    const std::string bundle = backup(kFull) + "/bundle/1";
    change_byte(bundle, fs::file_size(bundle) / 2);
    const VerifyResult result = run();
    EXPECT_GE(result.failures(), 1u);
    EXPECT_THAT(texts_of(result), Contains(AllOf(HasSubstr("failure: " + kFull + ": pg_data/"),
                                                 HasSubstr(kIncr + " cannot be restored"))));
    EXPECT_EQ(verdict(result, kFull), BackupVerdict::invalid);
    EXPECT_EQ(verdict(result, kDiff), BackupVerdict::invalid);
}

TEST_F(Damage, BundleCutOff) {
    const std::string bundle = backup(kDiff) + "/bundle/1";
    const auto size = fs::file_size(bundle);
    fs::resize_file(bundle, size - 1);
    const VerifyResult result = run();
    EXPECT_THAT(texts_of(result),
                Contains(HasSubstr(kDiff + ": bundle/1: has " + std::to_string(size - 1) +
                                   " bytes instead of " + std::to_string(size))));
    EXPECT_EQ(verdict(result, kFull), BackupVerdict::valid);
}

TEST_F(Damage, BundleMissing) {
    fs::remove(backup(kFull) + "/bundle/2");
    const VerifyResult result = run();
    EXPECT_THAT(
        texts_of(result),
        Contains(AllOf(HasSubstr(kFull + ": bundle/2: is missing; it holds pg_data/"),
                       HasSubstr(kFull + ", " + kDiff + ", " + kIncr + " cannot be restored"))));
}

TEST_F(Damage, BundlesSwapped) {
    const std::string one = backup(kDiff) + "/bundle/1";
    const std::string other = backup(kIncr) + "/bundle/1";
    const std::string content = test::read_file(one);
    test::write_file(one, test::read_file(other));
    test::write_file(other, content);
    const VerifyResult result = run();
    EXPECT_EQ(verdict(result, kFull), BackupVerdict::valid);
    EXPECT_EQ(verdict(result, kDiff), BackupVerdict::invalid);
    EXPECT_EQ(verdict(result, kIncr), BackupVerdict::invalid);
}

TEST_F(Damage, BlockMapCut) {
    std::string name;
    reseal(kIncr, [&](repo::Manifest& manifest) {
        for (repo::ManifestFile& file : manifest.files) {
            if (!file.block_incremental() || !file.reference.empty()) continue;
            --file.repo_size;
            --file.block_map_size;
            file.repo_checksum = "";
            name = file.name;
            return;
        }
    });
    EXPECT_THAT(texts_of(run()),
                Contains(AllOf(HasSubstr(kIncr + ": " + name), HasSubstr("block map"))));
}

TEST_F(Damage, BlockOfTheFullBackupThatADiffUses) {
    std::string name;
    std::uint64_t at = 0;
    reseal(kFull, [&](repo::Manifest& manifest) {
        for (repo::ManifestFile& file : manifest.files) {
            if (!file.block_incremental() || file.repo_size < 1000) continue;
            if (file.repo_size > at) name = file.name, at = file.bundle_offset + 50;
        }
    });
    change_byte(find_path(backup(kFull), {"bundle/1"}), at);
    const VerifyResult result = run();
    EXPECT_THAT(texts_of(result), Contains(HasSubstr(kFull + ": " + name)));
}

TEST_F(Damage, SizeInTheManifestWrong) {
    reseal(kFull, [](repo::Manifest& manifest) {
        repo::ManifestFile* const file = manifest.find_file("pg_data/PG_VERSION");
        file->size = file->size_original = 4;
    });
    const VerifyResult result = run();
    EXPECT_THAT(texts_of(result), Contains(AllOf(HasSubstr(kFull + ": pg_data/PG_VERSION"),
                                                 HasSubstr("4 in the manifest"))));
    // The later backups refer to a file of 3 bytes, and there is none.
    EXPECT_THAT(texts_of(result), Contains(HasSubstr(kDiff + ": pg_data/PG_VERSION")));
}

TEST_F(Damage, ChecksumInTheManifestWrong) {
    reseal(kIncr, [](repo::Manifest& manifest) {
        for (repo::ManifestFile& file : manifest.files)
            if (file.reference.empty() && file.size > 0)
                return void(file.checksum = std::string(40, 'a'));
    });
    expect_only(run_full(), {kIncr + ": pg_data/", "the content has SHA-1"});
}

// The bytes are those that were stored, but no file can be made of them: the manifest says so of
// itself where its sizes no longer add up to those of backup.info.
TEST_F(Damage, LargeFileThatIsNotWhatTheManifestSays) {
    std::string name;
    reseal(kFull, [&](repo::Manifest& manifest) {
        const auto largest =
            std::ranges::max_element(manifest.files, {}, &repo::ManifestFile::size);
        largest->checksum = std::string(40, 'a');
        name = largest->name;
    });
    EXPECT_THAT(texts_of(run_full()), Contains(AllOf(HasSubstr(kFull + ": " + name),
                                                     HasSubstr("the content has SHA-1"))));
    reseal(kFull, [&](repo::Manifest& manifest) { manifest.find_file(name)->size += 8192; });
    EXPECT_THAT(texts_of(run()), Contains(HasSubstr("backup.info on backup-info-size")));
}

TEST_F(Damage, StoredBytesOtherThanTheManifestSays) {
    reseal(kIncr, [](repo::Manifest& manifest) {
        for (repo::ManifestFile& file : manifest.files)
            if (file.reference.empty() && !file.repo_checksum.empty())
                return void(file.repo_checksum = std::string(40, 'a'));
    });
    expect_only(run(), {kIncr + ": pg_data/", "the stored bytes have SHA-1"});
}

TEST_F(Damage, ReferenceToAFileThatIsNotThere) {
    reseal(kIncr, [](repo::Manifest& manifest) {
        repo::ManifestFile* const file = manifest.find_file("pg_data/PG_VERSION");
        file->reference = kDiff;
    });
    expect_only(run(), {kIncr + ": pg_data/PG_VERSION", "refers to backup " + kDiff});
}

TEST_F(Damage, ReferencedBackupMissing) {
    fs::remove_all(backup(kDiff));
    const VerifyResult result = run();
    EXPECT_THAT(texts_of(result),
                Contains(AllOf(HasSubstr("failure: " + kDiff + ": backup.manifest"),
                               HasSubstr(kIncr + " cannot be restored"))));
    EXPECT_EQ(verdict(result, kDiff), BackupVerdict::manifest_missing);
    EXPECT_EQ(verdict(result, kIncr), BackupVerdict::invalid);
    EXPECT_EQ(verdict(result, kFull), BackupVerdict::valid);
}

TEST_F(Damage, ManifestDamagedAndReadFromItsCopy) {
    change_byte(backup(kFull) + "/backup.manifest", 200);
    const VerifyResult result = run();
    expect_only(result, {kFull + ": backup.manifest"});
    EXPECT_EQ(verdict(result, kDiff), BackupVerdict::valid);
}

TEST_F(Damage, StaleCopies) {
    const auto repository = fixture_.repository();
    const std::string manifest = test::read_file(backup(kFull) + "/backup.manifest");
    reseal(kFull, [](repo::Manifest& changed) { changed.annotations["a"] = "b"; });
    test::write_file(backup(kFull) + "/backup.manifest.copy", manifest);
    auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    const std::string old = test::read_file(root() + "/backup/main/backup.info");
    info->backups.front().annotations["a"] = "b";
    ASSERT_OK(repo::save_backup_info(repository, "main", *info));
    test::write_file(root() + "/backup/main/backup.info.copy", old);
    const VerifyResult result = run();
    EXPECT_EQ(result.failures(), 2u) << testing::PrintToString(texts_of(result));
    EXPECT_THAT(texts_of(result),
                Contains(HasSubstr(kFull + ": backup.manifest.copy: stale: does not match")));
    EXPECT_THAT(texts_of(result), Contains(HasSubstr("backup.info.copy: stale: does not match")));
}

TEST_F(Damage, InfoFileDamagedBesideItsCopy) {
    change_byte(root() + "/archive/main/archive.info", 40);
    expect_only(run(), {"archive.info"});
}

TEST_F(Damage, InfoFilesGone) {
    fs::remove(root() + "/backup/main/backup.info");
    fs::remove(root() + "/backup/main/backup.info.copy");
    const VerifyResult result = run();
    EXPECT_EQ(result.failures(), 2u);
    EXPECT_ERROR(ErrorKind::file_invalid, verify_outcome(result));
}

TEST_F(Damage, BackupThatBackupInfoDoesNotList) {
    const auto repository = fixture_.repository();
    auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    info->backups.pop_back();
    ASSERT_OK(repo::save_backup_info(repository, "main", *info));
    expect_only(run(), {kIncr, "not in backup.info"});
}

TEST_F(Damage, BackupThatBackupInfoDescribesOtherwise) {
    const auto repository = fixture_.repository();
    auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    info->backups.front().archive_stop = "000000010000000000000009";
    ASSERT_OK(repo::save_backup_info(repository, "main", *info));
    expect_only(run(), {kFull + ": backup.manifest", "backup-archive-stop"});
}

TEST_F(Damage, EachMemberThatBackupInfoDescribesOtherwiseIsNamed) {
    const auto repository = fixture_.repository();
    auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    using Change = std::function<void(repo::BackupEntry&)>;
    const std::vector<std::pair<std::string, Change>> changes = {
        {"backup-type", [](auto& entry) { entry.type = repo::BackupType::diff; }},
        {"backup-prior", [](auto& entry) { entry.prior = kFull; }},
        {"backup-reference", [](auto& entry) { entry.references.pop_back(); }},
        {"backup-reference", [](auto& entry) { entry.references.push_back("20200101-000000F"); }},
        {"backup-timestamp-start", [](auto& entry) { --entry.timestamp_start; }},
        {"backup-timestamp-stop", [](auto& entry) { ++entry.timestamp_stop; }},
        {"backup-lsn-start", [](auto& entry) { entry.lsn_start = Lsn{1}; }},
        {"backup-error", [](auto& entry) { entry.error = true; }},
        {"option-online", [](auto& entry) { entry.option_online = false; }},
        {"backup-lsn-stop, backup-timestamp-stop", [](auto& entry) {
             entry.lsn_stop.reset();
             entry.timestamp_stop = 1;
         }}};
    for (const auto& [keys, change] : changes) {
        repo::BackupInfo wrong = *info;
        change(wrong.backups.back());
        ASSERT_OK(repo::save_backup_info(repository, "main", wrong));
        expect_only(run(), {kIncr + ": backup.manifest", "backup.info on " + keys + " "});
    }
}

TEST_F(Damage, DirectoryWithoutManifestIsNoted) {
    fs::create_directories(backup("20261121-000000F") + "/pg_data");
    test::write_file(backup("20261121-000000F") + "/backup.manifest.copy", "half");
    const VerifyResult result = run();
    EXPECT_EQ(result.failures(), 0u);
    EXPECT_EQ(verdict(result, "20261121-000000F"), BackupVerdict::in_progress);
}

TEST_F(Damage, UnknownLabel) {
    expect_only(run({"20250101-000000F"}), {"20250101-000000F", "no such backup"});
    const Cancellation never;
    EXPECT_ERROR(ErrorKind::option_invalid_value,
                 run_verify(request_for(fixture_.repository(), {"bogus"}), {}, never));
}

TEST_F(Damage, WhatIsNoFileIsNoSegment) {
    const std::string path = segment("5");
    const std::string aside = root() + "/aside";
    fs::rename(path, aside);
    fs::create_directory(path);
    expect_only(run(), {"000000010000000000000005 is missing"});
    fs::remove(path);
    fs::create_symlink("/nowhere", path);
    expect_only(run(), {"000000010000000000000005 is missing"});
    fs::remove(path);
    fs::create_symlink(aside, path);
    EXPECT_EQ(run().failures(), 0u) << "somebody has it elsewhere";
    change_byte(aside, 300);
    EXPECT_EQ(run_full().failures(), 1u) << "and it is read there";
}

// Its checksum is right, and so are all files: no restore takes it all the same.
TEST_F(Damage, ManifestThatNoRestoreAccepts) {
    const auto expect_named = [&](const std::function<void(repo::Manifest&)>& change,
                                  const std::string& what) {
        const auto good = repo::load_manifest(fixture_.repository(), "main", kDiff, "");
        ASSERT_OK(good);
        reseal(kDiff, change);
        expect_only(run(), {kDiff + ": backup.manifest: ", what});
        reseal(kDiff, [&](repo::Manifest& manifest) { manifest = *good; });
    };
    expect_named(
        [](auto& manifest) {
            std::erase_if(manifest.paths,
                          [](const auto& path) { return path.name == "pg_data/base"; });
        },
        "is in a directory that the backup does not have");
    expect_named(
        [](auto& manifest) {
            manifest.links.push_back({"pg_data/pg_wal", "/wal", {}, {}});
        },
        "has no target");
    for (const std::string name : {"PG_VERSION", "global/pg_control", "backup_label"})
        expect_named(
            [&](auto& manifest) {
                std::erase_if(manifest.files,
                              [&](const auto& file) { return file.name == "pg_data/" + name; });
            },
            "has no file '" + name + "'");
    EXPECT_EQ(run().failures(), 0u);
}

TEST_F(Damage, SetsLookAtNothingElse) {
    change_byte(segment("5"), 300);
    fs::remove(segment("9"));
    EXPECT_EQ(run({kFull}).failures(), 0u);
    EXPECT_EQ(run({"oldest", "latest"}).failures(), 0u);
    EXPECT_EQ(run({"latest-full"}).repositories.at(0).backups.size(), 1u);
    EXPECT_EQ(run({kDiff}).failures(), 1u);
    fs::remove(segment("2"));
    EXPECT_EQ(run({"latest-full"}).failures(), 1u);
}

class DamageOfTwoTimelines : public testing::Test {
protected:
    VerifyResult run() const {
        return verify(request_for(fixture_.repository("fixture-repo-pass-d")));
    }
    std::string archive() const { return fixture_.path() + "/archive/main/15-1/"; }
    const test::Fixture fixture_{"lz4-aes-tblspc"};
};

TEST_F(DamageOfTwoTimelines, HistoryMissing) {
    fs::remove(archive() + "00000002.history");
    const VerifyResult result = run();
    EXPECT_EQ(result.failures(), 1u) << testing::PrintToString(texts_of(result));
    EXPECT_THAT(texts_of(result),
                Contains(AllOf(HasSubstr("00000002.history"), HasSubstr("to timeline 2"))));
}

TEST_F(DamageOfTwoTimelines, HistoryOfTheOldestIsMissedByNobody) {
    const auto repository = fixture_.repository("fixture-repo-pass-d");
    auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    for (const repo::BackupEntry& backup : info->backups)
        fs::remove_all(fixture_.path() + "/backup/main/" + backup.label);
    info->backups.clear();
    ASSERT_OK(repo::save_backup_info(repository, "main", *info));
    fs::remove_all(archive() + "0000000100000000");
    fs::remove(archive() + "00000002.history");
    const VerifyResult result = run();
    EXPECT_EQ(result.failures(), 0u) << testing::PrintToString(texts_of(result));
    EXPECT_GT(result.repositories.at(0).archives.at(0).wal.total, 0u);
    // Nor if a later one, which has no WAL yet, tells of those before.
    const auto archive_info = repo::load_archive_info(repository, "main");
    ASSERT_OK(archive_info);
    ASSERT_OK(repo::write_text(repository, "archive/main/15-1/00000003.history",
                               "1\t0/10000A0\tpromoted\n2\t0/1500100\tpromoted\n",
                               archive_info->cipher_pass));
    EXPECT_EQ(run().failures(), 0u) << testing::PrintToString(texts_of(run()));
}

TEST_F(DamageOfTwoTimelines, SegmentWhereTheNewTimelineBegins) {
    fs::remove(find_path(archive(), {"000000020000000000000010-"}));
    const VerifyResult result = run();
    EXPECT_EQ(result.failures(), 1u) << testing::PrintToString(texts_of(result));
    EXPECT_THAT(texts_of(result), Contains(HasSubstr("000000020000000000000010")));
}

// The history alone proves that the first timeline went up to the fork.
TEST_F(DamageOfTwoTimelines, EndOfATimelineWhoseNextOneHasNoWalYet) {
    const auto repository = fixture_.repository("fixture-repo-pass-d");
    const auto info = repo::load_archive_info(repository, "main");
    ASSERT_OK(info);
    ASSERT_OK(repo::write_text(repository, "archive/main/15-1/00000002.history",
                               "1\t0/1500100\tpromoted\n", info->cipher_pass));
    fs::remove_all(archive() + "0000000200000000");
    EXPECT_THAT(texts_of(run()), Contains(AllOf(HasSubstr("000000010000000000000013"),
                                                HasSubstr("are missing (2)"))));
}

TEST_F(DamageOfTwoTimelines, FilesSwapped) {
    const std::string base = fixture_.path() + "/backup/main/20261120-083948F/pg_data/base/";
    const std::string one = find_path(base, {"/1247.lz4"});
    const std::string other = find_path(base, {"/1255.lz4"});
    const std::string content = test::read_file(one);
    test::write_file(one, test::read_file(other));
    test::write_file(other, content);
    const VerifyResult result = run();
    EXPECT_EQ(result.failures(), 2u) << testing::PrintToString(texts_of(result));
    EXPECT_THAT(texts_of(result), Contains(HasSubstr("1247.lz4: has ")));
    EXPECT_THAT(texts_of(result), Contains(HasSubstr("1255.lz4: has ")));
}

TEST_F(DamageOfTwoTimelines, EmptyFileMissing) {
    std::string name;
    const auto repository = fixture_.repository("fixture-repo-pass-d");
    const auto info = repo::load_backup_info(repository, "main");
    ASSERT_OK(info);
    const auto manifest =
        repo::load_manifest(repository, "main", "20261120-083948F", info->cipher_pass);
    ASSERT_OK(manifest);
    for (const repo::ManifestFile& file : manifest->files)
        if (file.size == 0) name = file.name;
    fs::remove(fixture_.path() + "/backup/main/20261120-083948F/" + name + ".lz4");
    EXPECT_THAT(texts_of(run()), Contains(HasSubstr(name + ".lz4: is missing")));
}

TEST(DamageOfBlocks, FileOfBlocksCutOrMissing) {
    const test::Fixture fixture("crafted");
    const std::string root = fixture.path("none-pgbi");
    const std::string cut = find_path(root, {"I/pg_data/crafted/abcdefgh.pgbi"});
    fs::resize_file(cut, fs::file_size(cut) - 10);
    fs::remove(find_path(root, {"F/pg_data/crafted/touch.pgbi"}));
    const VerifyResult result = verify(request_for(fixture.repository("", "none-pgbi")));
    EXPECT_THAT(texts_of(result),
                Contains(AllOf(HasSubstr("pg_data/crafted/touch.pgbi: is missing"),
                               HasSubstr("cannot be restored"))));
    EXPECT_THAT(texts_of(result), Contains(HasSubstr("abcdefgh.pgbi: has ")));
}

}  // namespace
}  // namespace chronos::ops::verify

# An object store for a test (test/support/s3_server.py), and the options that lead to a bucket of it.
#   my $server = S3Server->new(buckets => ['one']);
#   $server->{https}, {http}, {key}, {secret}, {ca}
#   $server->options('one', style => 'host')       for write_config
#   $server->command('quota 1000000')
# The server ends with the object.
package S3Server;

use strict;
use warnings;
use File::Basename qw(dirname);
use IPC::Open2 ();
use JSON::PP ();
use PostgreSQL::Test::Utils;

my $support = dirname(__FILE__) . '/../../support';

sub new
{
	my ($class, %params) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir_short() . '/s3';
	my $pid = IPC::Open2::open2(my $out, my $in, 'python3', "$support/s3_server.py", $dir,
		map { ('--bucket', $_) } @{ $params{buckets} // [] });
	my $line = readline($out) // die 'the object store did not start';
	return bless { %{ JSON::PP::decode_json($line) }, pid => $pid, out => $out, in => $in }, $class;
}

# Obeys a command of s3_server.py and returns what is behind "ok ".
sub command
{
	my ($self, $text) = @_;
	my $in = $self->{in};
	print $in "$text\n";
	$in->flush;
	my $answer = readline($self->{out}) // die "the object store ended at '$text'";
	die "$text: $answer" if $answer !~ /^ok (.*)/s;
	return $1 =~ s/\s+$//r;
}

# The keys below a prefix of a bucket, sorted.
sub keys_below
{
	my ($self, $bucket, $prefix) = @_;
	require MIME::Base64;
	my @keys;
	my $after = '';
	while (1)
	{
		my $query = 'list-type=2&prefix=' . _encode($prefix);
		$query .= '&start-after=' . _encode($after) if $after ne '';
		my ($status, $body) = split / /, $self->command("get '/$bucket?$query'");
		die "list of $bucket: $status" if $status != 200;
		my $xml = MIME::Base64::decode_base64($body);
		my @page = $xml =~ m{<Key>([^<]*)</Key>}g;
		push @keys, @page;
		last if $xml !~ m{<IsTruncated>true} || !@page;
		$after = $page[-1];
	}
	return @keys;
}

sub _encode { return $_[0] =~ s/([^A-Za-z0-9_.~-])/sprintf '%%%02X', ord $1/ger }

# Options of repo1 that lead to a bucket; port => that of a proxy in front.
sub options
{
	my ($self, $bucket, %how) = @_;
	my $key = $how{repo} // 1;
	my $style = $how{style} // 'path';
	my %options = (
		'type' => 's3', 's3-bucket' => $bucket, 's3-region' => 'us-east-1',
		's3-key' => $self->{key}, 's3-key-secret' => $self->{secret}, 's3-uri-style' => $style,
		's3-endpoint' => $style eq 'path' ? 'localhost' : 's3.test',
		'storage-port' => $how{port} // $self->{https}, 'storage-ca-file' => $self->{ca});
	$options{'storage-host'} = 'localhost' if $style eq 'host';
	return map { ("repo$key-$_" => $options{$_}) } keys %options;
}

sub stop
{
	my ($self) = @_;
	return if !defined $self->{pid};
	close $self->{in};
	waitpid $self->{pid}, 0;
	$self->{pid} = undef;
	return;
}

sub DESTROY
{
	my ($self) = @_;
	local ($?, $@, $!);
	$self->stop;
	return;
}

1;

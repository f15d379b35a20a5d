"""S3, and servers that speak its protocol: buckets as a source of logs, as a warehouse and as a place for
reports.

`access` says who asks whom and what an error means, `transfer` gets and lists objects whatever the network
does, `stream` makes an object a file that can seek, `storage` is a warehouse's files in a bucket, `find` the
logs under a prefix. It is botocore's client, which boto3 hands out too; see docs/decisions/0012-s3.md.
"""

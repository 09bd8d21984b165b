# Trains the classifier of training.go in PyTorch: after the line with PyTorch's version, a step for every line read, answered by the
# CPU time of this process in seconds. The argument is the number of threads.
import sys
import time

import torch

torch.set_num_threads(int(sys.argv[1]))
torch.manual_seed(1)


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(10000, 64, padding_idx=0)
        self.lstm = torch.nn.LSTM(64, 128, batch_first=True)
        self.classes = torch.nn.Linear(128, 2)

    def forward(self, ids):
        states, _ = self.lstm(self.embedding(ids))
        return self.classes(states.max(1).values)


model = Classifier()
ids = torch.randint(2, 9002, (8, 32, 128))
labels = torch.randint(0, 2, (8, 32))
optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.01)
print(torch.__version__, flush=True)
for step, _ in enumerate(sys.stdin):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(ids[step % 8]), labels[step % 8]).backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    print(time.process_time(), flush=True)
